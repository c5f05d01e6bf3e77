/*
 * A head in fp32, for the instruction set named SET; included once for each of them, with
 *   SET      the end of the functions' names
 *   TARGET   the attribute that has them compiled for it
 *   LANES    numbers of a vector
 *   ROWS     queries at a time, MOST_ROWS at most: two vectors of sums for each of them fit the registers
 */

#define JOINED(name, set) name##_##set
#define NAMED(name, set) JOINED(name, set)
#define FLOATS NAMED(Floats, SET)
#define INTS NAMED(Ints, SET)
#define UNALIGNED NAMED(UnalignedFloats, SET)
#define SUM_OF NAMED(sum_of, SET)
#define LARGEST_OF NAMED(largest_of, SET)
#define POWER_OF_TWO NAMED(power_of_two, SET)
#define WEIGHTS_OF NAMED(weights_of, SET)
#define PRODUCT NAMED(product, SET)
#define INLINE TARGET static inline __attribute__((always_inline))
#define LOAD(from) (*(const UNALIGNED *)(from))
#define STORE(to, vector) (*(UNALIGNED *)(to) = (vector))
#define ALL(number) ((number) - (FLOATS){0})
#define CHOSEN(where, a, b) ((FLOATS)(((where) & (INTS)(a)) | (~(where) & (INTS)(b))))

typedef float FLOATS __attribute__((vector_size(4 * LANES)));
typedef float UNALIGNED __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef int32_t INTS __attribute__((vector_size(4 * LANES)));

INLINE float SUM_OF(FLOATS x) {
    float sum = 0;
    for (int lane = 0; lane < LANES; lane++) sum += x[lane];
    return sum;
}

INLINE float LARGEST_OF(FLOATS x) {
    float largest = x[0];
    for (int lane = 1; lane < LANES; lane++) largest = x[lane] > largest ? x[lane] : largest;
    return largest;
}

/* 2 to the power of x for x <= 0: Taylor's series of degree 6 around the nearest whole number, exact to 2e-7. */
INLINE FLOATS POWER_OF_TWO(FLOATS x) {
    const FLOATS shift = ALL(12582912.0f); /* 1.5 * 2^23: adding it rounds to a whole number, in the lowest bits */
    x = CHOSEN(x < ALL(-127.0f), ALL(-127.0f), x);
    const FLOATS shifted = x + shift, f = x - (shifted - shift);
    FLOATS p = ALL(1.5403530e-4f);
    p = p * f + ALL(1.3333558e-3f);
    p = p * f + ALL(9.6181291e-3f);
    p = p * f + ALL(5.5504109e-2f);
    p = p * f + ALL(2.4022651e-1f);
    p = p * f + ALL(6.9314718e-1f);
    p = p * f + ALL(1.0f);
    const INTS exponent = (INTS)shifted - (INTS)shift + 127; /* 0 at -127, and so is the result */
    return p * (FLOATS)(exponent << 23);
}

/* Turns a row of scores times log2(e) into weights and returns their sum; those of unseen keys become 0. */
INLINE float WEIGHTS_OF(float *scores, Seen seen, Seen block) {
    const int64_t filled = block.to - block.from;
    for (int64_t j = 0; j < seen.from - block.from; j++) scores[j] = -INFINITY;
    for (int64_t j = seen.to - block.from; j < filled; j++) scores[j] = -INFINITY;
    FLOATS largest = LOAD(scores);
    for (int64_t j = LANES; j < filled; j += LANES) {
        const FLOATS x = LOAD(scores + j);
        largest = CHOSEN(x > largest, x, largest);
    }
    const float offset = LARGEST_OF(largest);
    FLOATS sum = ALL(0);
    for (int64_t j = 0; j < filled; j += LANES) {
        const FLOATS weights = POWER_OF_TWO(LOAD(scores + j) - offset);
        STORE(scores + j, weights);
        sum += weights;
    }
    return SUM_OF(sum);
}

/* [ROWS, depth] times [depth, 2 * LANES]; strides in numbers. */
INLINE void PRODUCT(const float *left, int64_t left_stride, const float *right, int64_t right_stride, int64_t depth,
                    float *to, int64_t to_stride) {
    FLOATS sums[ROWS][2];
    for (int i = 0; i < ROWS; i++)
        for (int c = 0; c < 2; c++) sums[i][c] = ALL(0);
    for (int64_t t = 0; t < depth; t++) {
        FLOATS row[2];
        for (int c = 0; c < 2; c++) row[c] = LOAD(right + t * right_stride + c * LANES);
        for (int i = 0; i < ROWS; i++)
            for (int c = 0; c < 2; c++) sums[i][c] += left[i * left_stride + t] * row[c];
    }
    for (int i = 0; i < ROWS; i++)
        for (int c = 0; c < 2; c++) STORE(to + i * to_stride + c * LANES, sums[i][c]);
}

TARGET static void NAMED(head_f32, SET)(const Request *r, const Scratch *s, int64_t segment, int64_t head) {
    const Task task = task_of(r, segment, head);
    const int64_t width = r->width, filled = filled_up(task.keys), columns = 2 * LANES;
    const int64_t value_stride = r->value.token_stride / 4;
    float *keys = s->keys, *mixed = s->weights;
    for (int64_t j = 0; j < filled; j++) {
        const float *key = (const float *)(task.key + least(j, task.keys - 1) * r->key.token_stride);
        for (int64_t t = 0; t < width; t++) keys[t * filled + j] = key[t];
    }
    for (int64_t row = 0; row < task.queries; row += ROWS) {
        const int64_t rows = least(ROWS, task.queries - row);
        const Seen block = block_of(r, &task, row, rows);
        for (int i = 0; i < ROWS; i++) { /* rows beyond the last repeat it */
            const float *query = (const float *)(task.query + (row + least(i, rows - 1)) * r->query.token_stride);
            for (int64_t t = 0; t < width; t++) s->queries[i * width + t] = query[t] * (r->scaling * LOG2_E);
        }
        for (int64_t j = block.from; j < block.to; j += columns)
            PRODUCT(s->queries, width, keys + j, filled, width, s->scores + j - block.from, filled);
        float shares[ROWS];
        for (int i = 0; i < ROWS; i++)
            shares[i] = 1 / WEIGHTS_OF(s->scores + i * filled, seen_by(r, &task, row + least(i, rows - 1)), block);
        const float *values = (const float *)task.value + block.from * value_stride;
        const int64_t depth = least(block.to, task.keys) - block.from;
        for (int64_t c = 0; c < width; c += columns)
            PRODUCT(s->scores, filled, values + c, value_stride, depth, mixed + c, width);
        for (int i = 0; i < rows; i++) {
            float *output = (float *)(task.output + (row + i) * r->output.token_stride);
            for (int64_t t = 0; t < width; t++) output[t] = mixed[i * width + t] * shares[i];
        }
    }
}

#undef JOINED
#undef NAMED
#undef FLOATS
#undef INTS
#undef UNALIGNED
#undef SUM_OF
#undef LARGEST_OF
#undef POWER_OF_TWO
#undef WEIGHTS_OF
#undef PRODUCT
#undef INLINE
#undef LOAD
#undef STORE
#undef ALL
#undef CHOSEN
#undef SET
#undef TARGET
#undef LANES
#undef ROWS
