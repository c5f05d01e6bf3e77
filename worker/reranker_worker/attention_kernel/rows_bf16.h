/* A head in bf16 with AVX512-BF16, whose instruction adds products of numbers two by two in fp32. */

#include <immintrin.h>
#include <string.h>

#define TARGET __attribute__((target("avx512f,avx512bw,avx512vl,avx512bf16")))
#define SET bf16
#define LANES 16
#include "rows_f32.h"

#define TARGET __attribute__((target("avx512f,avx512bw,avx512vl,avx512bf16")))
#define INLINE TARGET static inline __attribute__((always_inline))
#define LANES 16

/* Lays keys out as [width / 2, filled]: of each key, two neighbours of its width. */
INLINE void keys_by_two(const char *key, int64_t stride, int64_t keys, int64_t filled, int64_t width, int32_t *to) {
    const __m512i lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    const __m512i offsets = _mm512_mullo_epi32(_mm512_set1_epi32((int)stride), lanes);
    for (int64_t j = 0; j < filled; j += LANES) {
        const int64_t left = keys - j;
        const __mmask16 there = left >= LANES ? 0xffff : left <= 0 ? 0 : (__mmask16)((1u << left) - 1);
        for (int64_t t = 0; t < width / 2; t++) {
            const void *from = key + j * stride + 4 * t;
            const __m512i two = _mm512_mask_i32gather_epi32(_mm512_setzero_si512(), there, offsets, from, 1);
            _mm512_storeu_si512(to + t * filled + j, two);
        }
    }
}

/* Lays values out as [filled / 2, width]: of each number of the width, two neighbouring tokens'. */
INLINE void values_by_two(const char *value, int64_t stride, int64_t keys, int64_t filled, int64_t width, int32_t *to) {
    for (int64_t j = 0; j < filled; j += 2)
        for (int64_t c = 0; c < width; c += LANES) {
            const char *from = value + j * stride + 2 * c;
            __m512i low = _mm512_setzero_si512(), high = low;
            if (j < keys) low = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const void *)from));
            if (j + 1 < keys) high = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const void *)(from + stride)));
            _mm512_storeu_si512(to + j / 2 * width + c, _mm512_or_si512(low, _mm512_slli_epi32(high, 16)));
        }
}

/* [ROWS, depth] times [depth, 2 * LANES], both of numbers two by two. */
INLINE void product_by_two(const int32_t *left, int64_t left_stride, const int32_t *right, int64_t right_stride,
                           int64_t depth, float *to, int64_t to_stride) {
    __m512 sums[ROWS][2];
    for (int i = 0; i < ROWS; i++) sums[i][0] = sums[i][1] = _mm512_setzero_ps();
    for (int64_t t = 0; t < depth; t++) {
        const __m512bh a = (__m512bh)_mm512_loadu_si512(right + t * right_stride);
        const __m512bh b = (__m512bh)_mm512_loadu_si512(right + t * right_stride + LANES);
        for (int i = 0; i < ROWS; i++) {
            const __m512bh factor = (__m512bh)_mm512_set1_epi32(left[i * left_stride + t]);
            sums[i][0] = _mm512_dpbf16_ps(sums[i][0], factor, a);
            sums[i][1] = _mm512_dpbf16_ps(sums[i][1], factor, b);
        }
    }
    for (int i = 0; i < ROWS; i++) {
        _mm512_storeu_ps(to + i * to_stride, sums[i][0]);
        _mm512_storeu_ps(to + i * to_stride + LANES, sums[i][1]);
    }
}

/* Rounds LANES numbers times a factor to bf16. */
INLINE void narrow(const float *from, float factor, void *to) {
    const __m512 scaled = _mm512_mul_ps(_mm512_loadu_ps(from), _mm512_set1_ps(factor));
    _mm256_storeu_si256(to, (__m256i)_mm512_cvtneps_pbh(scaled));
}

TARGET static void head_bf16(const Request *r, const Scratch *s, int64_t segment, int64_t head) {
    const Task task = task_of(r, segment, head);
    const int64_t width = r->width, filled = filled_up(task.keys);
    int32_t *keys = s->keys, *values = s->values, *weights = s->weights, *queries = (int32_t *)s->queries;
    keys_by_two(task.key, r->key.token_stride, task.keys, filled, width, keys);
    values_by_two(task.value, r->value.token_stride, task.keys, filled, width, values);
    for (int64_t row = 0; row < task.queries; row += ROWS) {
        const int64_t rows = least(ROWS, task.queries - row);
        const Seen block = block_of(r, &task, row, rows);
        const int64_t seen = block.to - block.from;
        for (int i = 0; i < ROWS; i++) { /* rows beyond the last repeat it */
            const char *query = task.query + (row + least(i, rows - 1)) * r->query.token_stride;
            memcpy(queries + i * width / 2, query, 2 * width);
        }
        for (int64_t j = 0; j < seen; j += 2 * LANES)
            product_by_two(queries, width / 2, keys + block.from + j, filled, width / 2, s->scores + j, filled);
        float shares[ROWS];
        for (int i = 0; i < ROWS; i++) {
            float *scores = s->scores + i * filled;
            for (int64_t j = 0; j < seen; j++) scores[j] *= r->scaling * LOG2_E;
            shares[i] = 1 / weights_of_bf16(scores, seen_by(r, &task, row + least(i, rows - 1)), block);
            for (int64_t j = 0; j < seen; j += LANES) narrow(scores + j, 1, weights + (i * filled + j) / 2);
        }
        float *mixed = s->scores;
        for (int64_t c = 0; c < width; c += 2 * LANES)
            product_by_two(weights, filled / 2, values + block.from / 2 * width + c, width, seen / 2, mixed + c, width);
        for (int i = 0; i < rows; i++)
            for (int64_t c = 0; c < width; c += LANES)
                narrow(mixed + i * width + c, shares[i], task.output + (row + i) * r->output.token_stride + 2 * c);
    }
}

#undef INLINE
#undef TARGET
#undef LANES
