/* A head in bf16 with AVX512-BF16, whose instruction adds products of numbers two by two in fp32. */

#include <immintrin.h>
#include <string.h>

#define TARGET __attribute__((target("avx512f,avx512bw,avx512vl,avx512bf16")))
#define INLINE TARGET static inline __attribute__((always_inline))
#define LANES 16
#define ROWS MOST_ROWS

/* Turns 16 rows of 16 numbers into columns: by pairs, by fours, then by quarters of vectors. */
INLINE void transpose(__m512i row[LANES]) {
    __m512i other[LANES];
    for (int i = 0; i < LANES; i += 2) {
        other[i] = _mm512_unpacklo_epi32(row[i], row[i + 1]);
        other[i + 1] = _mm512_unpackhi_epi32(row[i], row[i + 1]);
    }
    for (int i = 0; i < LANES; i += 4) /* row[i + n]: number n of each quarter, of four rows */
        for (int half = 0; half < 2; half++) {
            row[i + 2 * half] = _mm512_unpacklo_epi64(other[i + half], other[i + 2 + half]);
            row[i + 2 * half + 1] = _mm512_unpackhi_epi64(other[i + half], other[i + 2 + half]);
        }
    for (int n = 0; n < 4; n++) {
        const __m512i a = _mm512_shuffle_i32x4(row[n], row[n + 4], 0x88);
        const __m512i b = _mm512_shuffle_i32x4(row[n], row[n + 4], 0xdd);
        const __m512i c = _mm512_shuffle_i32x4(row[n + 8], row[n + 12], 0x88);
        const __m512i d = _mm512_shuffle_i32x4(row[n + 8], row[n + 12], 0xdd);
        other[n] = _mm512_shuffle_i32x4(a, c, 0x88);
        other[n + 4] = _mm512_shuffle_i32x4(b, d, 0x88);
        other[n + 8] = _mm512_shuffle_i32x4(a, c, 0xdd);
        other[n + 12] = _mm512_shuffle_i32x4(b, d, 0xdd);
    }
    for (int i = 0; i < LANES; i++) row[i] = other[i];
}

/* Lays keys out as [width / 2, filled]: of each key, two neighbours of its width. */
INLINE void keys_by_two(const char *key, int64_t stride, int64_t keys, int64_t filled, int64_t width, int32_t *to) {
    for (int64_t j = 0; j < filled; j += LANES)
        for (int64_t t = 0; t < width / 2; t += LANES) {
            __m512i tile[LANES];
            for (int64_t i = 0; i < LANES; i++) /* keys beyond the last repeat it, and nobody sees them */
                tile[i] = _mm512_loadu_si512(key + least(j + i, keys - 1) * stride + 4 * t);
            transpose(tile);
            for (int64_t i = 0; i < LANES; i++) _mm512_storeu_si512(to + (t + i) * filled + j, tile[i]);
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

/* 2 to the power of x for x <= 0, by Taylor's series of degree 4: exact to 4e-5, a hundredth of what bf16 tells apart. */
INLINE __m512 power_of_two(__m512 x) {
    const __m512 whole = _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    const __m512 f = _mm512_sub_ps(x, whole);
    __m512 p = _mm512_fmadd_ps(_mm512_set1_ps(9.6181291e-3f), f, _mm512_set1_ps(5.5504109e-2f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(2.4022651e-1f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(6.9314718e-1f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(1.0f));
    return _mm512_scalef_ps(p, whole);
}

/* Which of LANES scores, from number j of the block on, are of seen keys. */
INLINE __mmask16 among(Seen seen, int64_t j) {
    const __m512i lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    const __m512i place = _mm512_add_epi32(lanes, _mm512_set1_epi32((int)(j - seen.from)));
    return _mm512_cmplt_epu32_mask(place, _mm512_set1_epi32((int)(seen.to - seen.from)));
}

/* Turns a row of `filled` scores into weights in bf16 and returns their sum; those of unseen keys become 0. */
INLINE float weights_of(const float *scores, float scaling, Seen seen, int64_t filled, void *to) {
    __m512 largest = _mm512_set1_ps(-INFINITY), sum = _mm512_setzero_ps();
    for (int64_t j = 0; j < filled; j += LANES)
        largest = _mm512_mask_max_ps(largest, among(seen, j), largest, _mm512_loadu_ps(scores + j));
    const __m512 factor = _mm512_set1_ps(scaling * LOG2_E);
    const __m512 offset = _mm512_mul_ps(factor, _mm512_set1_ps(_mm512_reduce_max_ps(largest)));
    for (int64_t j = 0; j < filled; j += LANES) {
        const __m512 x = _mm512_fmsub_ps(_mm512_loadu_ps(scores + j), factor, offset);
        const __m512 weights = _mm512_maskz_mov_ps(among(seen, j), power_of_two(x));
        _mm256_storeu_si256((__m256i *)to + j / LANES, (__m256i)_mm512_cvtneps_pbh(weights));
        sum = _mm512_add_ps(sum, weights);
    }
    return _mm512_reduce_add_ps(sum);
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
            const Seen all = seen_by(r, &task, row + least(i, rows - 1));
            const Seen own = {all.from - block.from, all.to - block.from};
            shares[i] = 1 / weights_of(s->scores + i * filled, r->scaling, own, seen, weights + i * filled / 2);
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
#undef ROWS
