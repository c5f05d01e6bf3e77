/* Rows of both precisions; included once for each instruction set, by row_sets.h. */
#include "row_vectors.h"

#define BYTES NAMED(Bytes, SET)
#define ABSOLUTE(x) ((FLOATS)((INTS)(x) & 0x7fffffff))
#define ALL(number) ((number) - (FLOATS){0})

typedef uint8_t BYTES __attribute__((vector_size(LANES), aligned(1), may_alias));

#if LANES == 16 /* gcc 12 takes comparisons and shuffles for these */

#define LOWER_OF(a, b) ((FLOATS)_mm512_min_ps((__m512)(a), (__m512)(b)))
#define HIGHER_OF(a, b) ((FLOATS)_mm512_max_ps((__m512)(a), (__m512)(b)))
#define LOWEST_OF(x) _mm512_reduce_min_ps((__m512)(x))
#define HIGHEST_OF(x) _mm512_reduce_max_ps((__m512)(x))
#define PUT_BYTES(to, x) _mm_storeu_si128((__m128i *)(to), _mm512_cvtepi32_epi8((__m512i)(x)))

#else

#define LOWER_OF(a, b) NAMED(chosen, SET)((INTS)((a) < (b)), a, b)
#define HIGHER_OF(a, b) NAMED(chosen, SET)((INTS)((a) > (b)), a, b)
#define LOWEST_OF NAMED(lowest_of, SET)
#define HIGHEST_OF(x) (-NAMED(lowest_of, SET)(-(x)))
#define PUT_BYTES(to, x) (*(BYTES *)(to) = __builtin_convertvector(__builtin_convertvector((INTS)(x), SHORTS), BYTES))

INLINE FLOATS NAMED(chosen, SET)(INTS where, FLOATS a, FLOATS b) {
    return (FLOATS)((where & (INTS)a) | (~where & (INTS)b));
}

INLINE float NAMED(lowest_of, SET)(FLOATS x) {
    float lowest = x[0];
    for (int lane = 1; lane < LANES; lane++) lowest = x[lane] < lowest ? x[lane] : lowest;
    return lowest;
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
    const float scale = r->scales ? r->scales[row] : 1.0f, offset = r->scales ? r->offsets[row] : 0.0f;
    FLOATS numbers[MOST_NUMBERS / LANES] __attribute__((aligned(4 * LANES)));
    FLOATS lowest = ALL(INFINITY), highest = ALL(-INFINITY), none = ALL(0);
    for (int64_t i = 0; i < width; i += LANES) {
        FLOATS x = GET(r->input, start + i) * scale;
        if (r->scales) x += *(const FLOATS *)(r->sums + i) * offset;
        if (r->bias) x += GET(r->bias, i);
        if (is_gelu) x = NAMED(gelu, SET)(x);
        if (!to_bytes) {
            PUT(r->output, start + i, x);
            continue;
        }
        lowest = LOWER_OF(x, lowest);
        highest = HIGHER_OF(x, highest);
        none += x * 0.0f; /* other than 0 where a number isn't finite, which no byte can say */
        numbers[i / LANES] = x;
    }
    if (!to_bytes) return;
    const int zero_point = is_gelu ? GELU_ZERO_POINT : ZERO_POINT;
    const float from = LOWEST_OF(lowest), to = HIGHEST_OF(highest);
    const float step = (to - from) / (is_gelu ? 255 : 254), zero = is_gelu ? from : (from + to) / 2;
    const float steps = step > 0 ? 1 / step : 0;
    const float rounding = 12582912.0f + zero_point; /* 1.5 * 2^23: adding it rounds to a whole number, in the lowest bits */
    for (int64_t i = 0; i < width; i += LANES)
        PUT_BYTES(r->bytes + start + i, (numbers[i / LANES] - zero) * steps + rounding);
    r->byte_scales[row] = step + NAMED(sum_of, SET)(none);
    r->byte_offsets[row] = zero;
}

#define PASSES(precision, is_bf16, form, to_bytes, is_gelu) \
    TARGET static void NAMED(precision##_##form, SET)(int64_t begin, int64_t end, void *asked) { \
        for (int64_t row = begin; row < end; row++) NAMED(row_of, SET)(asked, row, is_bf16, to_bytes, is_gelu); \
    }

#define EXPORTED(precision, is_bf16) \
    PASSES(precision, is_bf16, numbers, 0, 0) \
    PASSES(precision, is_bf16, bytes, 1, 0) \
    PASSES(precision, is_bf16, bytes_gelu, 1, 1) \
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
#undef LOWER_OF
#undef HIGHER_OF
#undef LOWEST_OF
#undef HIGHEST_OF
#undef PUT_BYTES
#undef ABSOLUTE
#undef ALL
#undef PASSES
#undef EXPORTED
