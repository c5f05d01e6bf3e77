/*
 * Rows of both precisions for the instruction set named SET; included once for each of them, with
 *   SET     the end of the functions' names
 *   TARGET  the attribute that has them compiled for it
 *   LANES   numbers of a vector
 */

#define JOINED(name, set) name##_##set
#define NAMED(name, set) JOINED(name, set)
#define FLOATS NAMED(Floats, SET)
#define INTS NAMED(Ints, SET)
#define SHORTS NAMED(Shorts, SET)
#define SUM_OF NAMED(sum_of, SET)
#define WIDENED NAMED(widened, SET)
#define NARROWED NAMED(narrowed, SET)
#define GET(from, at) (is_bf16 ? WIDENED((from) + 2 * (at)) : *(const FLOATS *)((from) + 4 * (at)))
#define INLINE TARGET static inline __attribute__((always_inline))

typedef float FLOATS __attribute__((vector_size(4 * LANES), aligned(2), may_alias));
typedef uint32_t INTS __attribute__((vector_size(4 * LANES)));
typedef uint16_t SHORTS __attribute__((vector_size(2 * LANES), aligned(2), may_alias));

INLINE float SUM_OF(FLOATS x) {
    float sum = 0;
    for (int lane = 0; lane < LANES; lane++) sum += x[lane];
    return sum;
}

INLINE FLOATS WIDENED(const char *from) {
    return (FLOATS)(__builtin_convertvector(*(const SHORTS *)from, INTS) << 16);
}

/* Rounds to the nearest number in bf16, of two to the even one; what isn't a number stays none. */
INLINE SHORTS NARROWED(FLOATS x) {
    const INTS bits = (INTS)x, rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16, none = (INTS)(x != x);
    return __builtin_convertvector((none & 0x7fc0) | (~none & rounded), SHORTS);
}

INLINE void NAMED(normed, SET)(const Request *r, int64_t row, const int is_bf16) {
    const int64_t width = r->width, start = row * width;
    FLOATS numbers[MOST_NUMBERS / LANES], sum = {0}, squares = {0};
    for (int64_t i = 0; i < width / LANES; i++) {
        numbers[i] = GET(r->states, start + i * LANES) + GET(r->residual, start + i * LANES);
        sum += numbers[i];
    }
    const float mean = SUM_OF(sum) / width;
    for (int64_t i = 0; i < width / LANES; i++) squares += (numbers[i] - mean) * (numbers[i] - mean);
    const float scale = 1 / sqrtf(SUM_OF(squares) / width + r->eps);
    for (int64_t i = 0; i < width / LANES; i++) {
        const FLOATS x = (numbers[i] - mean) * scale * GET(r->weight, i * LANES) + GET(r->bias, i * LANES);
        if (is_bf16)
            *(SHORTS *)(r->output + 2 * (start + i * LANES)) = NARROWED(x);
        else
            *(FLOATS *)(r->output + 4 * (start + i * LANES)) = x;
    }
}

#define EXPORTED(precision, is_bf16) \
    TARGET static void NAMED(rows_##precision, SET)(int64_t begin, int64_t end, void *asked) { \
        for (int64_t row = begin; row < end; row++) NAMED(normed, SET)(asked, row, is_bf16); \
    } \
    int32_t NAMED(residual_norm_##precision, SET)(const Request *asked, int64_t threads, ParallelFor parallel_for) { \
        (void)threads; \
        return parallel_for(0, asked->rows, GRAIN, NAMED(rows_##precision, SET), (void *)asked); \
    }

EXPORTED(bf16, 1)
EXPORTED(f32, 0)

#undef JOINED
#undef NAMED
#undef FLOATS
#undef INTS
#undef SHORTS
#undef SUM_OF
#undef WIDENED
#undef NARROWED
#undef GET
#undef INLINE
#undef EXPORTED
#undef SET
#undef TARGET
#undef LANES
