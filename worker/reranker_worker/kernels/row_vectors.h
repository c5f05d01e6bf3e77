/*
 * Vectors for passes over rows in fp32 and bf16, for the instruction set named SET; included once for each of them, with
 *   SET     the end of the functions' names
 *   TARGET  the attribute that has them compiled for it
 *   LANES   numbers of a vector
 */
#ifndef ROW_VECTORS
#define ROW_VECTORS

#include <stdint.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define JOINED(name, set) name##_##set
#define NAMED(name, set) JOINED(name, set)
#define FLOATS NAMED(Floats, SET)
#define INTS NAMED(Ints, SET)
#define SHORTS NAMED(Shorts, SET)
#define INLINE TARGET static inline __attribute__((always_inline))
/* Numbers from `at` on of a row, in bf16 or in fp32; `is_bf16` is a constant wherever they are compiled. */
#define GET(from, at) (is_bf16 ? NAMED(widened, SET)((from) + 2 * (at)) : *(const FLOATS *)((from) + 4 * (at)))
#define PUT(to, at, x) \
    do { \
        if (is_bf16) \
            *(SHORTS *)((to) + 2 * (at)) = NAMED(narrowed, SET)(x); \
        else \
            *(FLOATS *)((to) + 4 * (at)) = (x); \
    } while (0)

#endif

typedef float FLOATS __attribute__((vector_size(4 * LANES), aligned(2), may_alias));
typedef uint32_t INTS __attribute__((vector_size(4 * LANES)));
typedef uint16_t SHORTS __attribute__((vector_size(2 * LANES), aligned(2), may_alias));

INLINE float NAMED(sum_of, SET)(FLOATS x) {
    float sum = 0;
    for (int lane = 0; lane < LANES; lane++) sum += x[lane];
    return sum;
}

INLINE FLOATS NAMED(widened, SET)(const char *from) {
#if LANES == 16
    /* gcc 12 converts the halves one after the other. */
    return (FLOATS)((INTS)_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)from)) << 16);
#else
    return (FLOATS)(__builtin_convertvector(*(const SHORTS *)from, INTS) << 16);
#endif
}

/* Rounds to the nearest number in bf16, of two to the even one; what isn't a number stays none. */
INLINE SHORTS NAMED(narrowed, SET)(FLOATS x) {
    const INTS bits = (INTS)x, rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16, none = (INTS)(x != x);
    return __builtin_convertvector((none & 0x7fc0) | (~none & rounded), SHORTS);
}
