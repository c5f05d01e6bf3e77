/* Rows of both precisions; included once for each instruction set, by row_sets.h. */
#include "row_vectors.h"

INLINE void NAMED(normed, SET)(const Request *r, int64_t row, const int is_bf16) {
    const int64_t width = r->width, start = row * width;
    FLOATS numbers[MOST_NUMBERS / LANES], sum = {0}, squares = {0};
    for (int64_t i = 0; i < width / LANES; i++) {
        numbers[i] = GET(r->states, start + i * LANES) + GET(r->residual, start + i * LANES);
        sum += numbers[i];
    }
    const float mean = NAMED(sum_of, SET)(sum) / width;
    for (int64_t i = 0; i < width / LANES; i++) squares += (numbers[i] - mean) * (numbers[i] - mean);
    const float scale = 1 / sqrtf(NAMED(sum_of, SET)(squares) / width + r->eps);
    for (int64_t i = 0; i < width / LANES; i++) {
        const FLOATS x = (numbers[i] - mean) * scale * GET(r->weight, i * LANES) + GET(r->bias, i * LANES);
        PUT(r->output, start + i * LANES, x);
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

#undef EXPORTED
