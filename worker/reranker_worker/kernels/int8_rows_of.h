/* Rows of both precisions; included once for each instruction set, as row_vectors.h is. */
#include "row_vectors.h"

#define BYTES NAMED(Bytes, SET)
#define SIGNED NAMED(Signed, SET)
#define ABSOLUTE(x) ((FLOATS)((INTS)(x) & 0x7fffffff))

typedef int32_t SIGNED __attribute__((vector_size(4 * LANES)));
typedef uint8_t BYTES __attribute__((vector_size(LANES), aligned(1), may_alias));

#if LANES == 16 /* gcc 12 takes comparisons and shuffles for these */

#define LARGER_OF(a, b) ((SIGNED)_mm512_max_epi32((__m512i)(a), (__m512i)(b)))
#define LARGEST_OF(x) _mm512_reduce_max_epi32((__m512i)(x))
#define PUT_BYTES(to, x) _mm_storeu_si128((__m128i *)(to), _mm512_cvtepi32_epi8((__m512i)(x)))

#else

#define LARGER_OF NAMED(larger_of, SET)
#define LARGEST_OF NAMED(largest_of, SET)
#define PUT_BYTES(to, x) (*(BYTES *)(to) = __builtin_convertvector(__builtin_convertvector((INTS)(x), SHORTS), BYTES))

INLINE SIGNED NAMED(larger_of, SET)(SIGNED a, SIGNED b) {
    const SIGNED distance = a - b; /* both are 0 at least */
    return a - (distance & distance >> 31);
}

INLINE int32_t NAMED(largest_of, SET)(SIGNED x) {
    int32_t largest = 0;
    for (int lane = 0; lane < LANES; lane++) largest = x[lane] > largest ? x[lane] : largest;
    return largest;
}

#endif

/*
 * x * (1 + erf(x / sqrt(2))) / 2, with erf by Abramowitz and Stegun's formula 7.1.28, exact to 3e-7; its coefficients
 * are multiplied by the powers of sqrt(1 / 2) here.
 */
INLINE FLOATS NAMED(gelu, SET)(FLOATS x) {
    const FLOATS z = ABSOLUTE(x);
    FLOATS p = z * 5.3829750e-6f + 4.8890636e-5f;
    p = p * z + 3.8003575e-5f;
    p = p * z + 3.2776263e-3f;
    p = p * z + 2.1141006e-2f;
    p = p * z + 4.9867347e-2f;
    p = p * z + 1.0f;
    p *= p;
    p *= p;
    p *= p;
    p *= p;
    const FLOATS tail = z * (0.5f / p); /* of erf's distance to 1, which falls to 0 on both sides */
    const FLOATS larger = (FLOATS)((INTS)x & (INTS)(x > 0.0f));
    return larger - tail;
}

INLINE void NAMED(row_of, SET)(const Request *r, int64_t row, const int is_bf16, const int to_bytes, const int is_gelu) {
    const int64_t width = r->width, start = row * width;
    const float scale = r->scales ? r->scales[row] : 1.0f;
    FLOATS numbers[MOST_NUMBERS / LANES] __attribute__((aligned(4 * LANES)));
    SIGNED largest = {0}; /* as whole numbers, whose order is the same, and of which those that aren't finite are the largest */
    for (int64_t i = 0; i < width; i += LANES) {
        FLOATS x = GET(r->input, start + i) * scale;
        if (r->bias) x += GET(r->bias, i);
        if (is_gelu) x = NAMED(gelu, SET)(x);
        if (!to_bytes) {
            PUT(r->output, start + i, x);
            continue;
        }
        largest = LARGER_OF(largest, (SIGNED)ABSOLUTE(x));
        numbers[i / LANES] = x;
    }
    if (!to_bytes) return;
    const union { int32_t bits; float number; } found = {LARGEST_OF(largest)};
    const float most = found.number;
    const float steps = most > 0 ? LARGEST / most : 0;
    const float rounding = 12582912.0f + ZERO_POINT; /* 1.5 * 2^23: adding it rounds to a whole number, in the lowest bits */
    for (int64_t i = 0; i < width; i += LANES)
        PUT_BYTES(r->bytes + start + i, numbers[i / LANES] * steps + rounding);
    r->byte_scales[row] = most / LARGEST;
}

#define ROWS(precision, is_bf16, form, to_bytes, is_gelu) \
    TARGET static void NAMED(precision##_##form, SET)(int64_t begin, int64_t end, void *asked) { \
        for (int64_t row = begin; row < end; row++) NAMED(row_of, SET)(asked, row, is_bf16, to_bytes, is_gelu); \
    }

#define EXPORTED(precision, is_bf16) \
    ROWS(precision, is_bf16, numbers, 0, 0) \
    ROWS(precision, is_bf16, bytes, 1, 0) \
    ROWS(precision, is_bf16, bytes_gelu, 1, 1) \
    int32_t NAMED(int8_rows_##precision, SET)(const Request *r, int64_t threads, ParallelFor parallel_for) { \
        (void)threads; \
        return parallel_for(0, r->rows, GRAIN, \
                            r->output    ? NAMED(precision##_numbers, SET) \
                            : r->is_gelu ? NAMED(precision##_bytes_gelu, SET) \
                                         : NAMED(precision##_bytes, SET), \
                            (void *)r); \
    }

EXPORTED(bf16, 1)
EXPORTED(f32, 0)

#undef BYTES
#undef SIGNED
#undef LARGER_OF
#undef LARGEST_OF
#undef PUT_BYTES
#undef ABSOLUTE
#undef ROWS
#undef EXPORTED
#undef SET
#undef TARGET
#undef LANES
