/* What is asked of the kernel, and what a thread works with. */
#pragma once

#include <stdint.h>

#define LANES 16     /* numbers of a vector; narrower instruction sets take two registers for it */
#define ROWS 6       /* queries at a time: their sums, and what they are made of, fit the registers */
#define KEYS_STEP 32 /* keys are filled up to a multiple of it, and widths must be one */
#define LOG2_E 1.44269504088896340736f

typedef struct {
    char *data;
    int64_t token_stride, head_stride; /* in bytes; a head's numbers lie side by side */
} States;

typedef struct {
    States query, key, value, output;
    const int32_t *bounds; /* pair i's keys are those from bounds[i] to bounds[i + 1] */
    int64_t pairs, heads, width, longest;
    int32_t first_only; /* whether query i is pair i's only one; otherwise each token has one */
    float scaling;
} Request;

/* A thread's memory, enough for the longest pair. */
typedef struct {
    void *keys, *values, *weights;
    float *queries, *scores;
} Scratch;

typedef void (*Head)(const Request *, const Scratch *, int64_t pair, int64_t head);

/* One pair's head: its queries are those from `first`. */
typedef struct {
    const char *query, *key, *value;
    char *output;
    int64_t queries, keys, filled;
} Task;

static inline int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

static inline int64_t filled_up(int64_t keys) { return (keys + KEYS_STEP - 1) / KEYS_STEP * KEYS_STEP; }

static inline Task task_of(const Request *r, int64_t pair, int64_t head) {
    const int64_t start = r->bounds[pair], keys = r->bounds[pair + 1] - start, first = r->first_only ? pair : start;
    return (Task){
        .query = r->query.data + first * r->query.token_stride + head * r->query.head_stride,
        .key = r->key.data + start * r->key.token_stride + head * r->key.head_stride,
        .value = r->value.data + start * r->value.token_stride + head * r->value.head_stride,
        .output = r->output.data + first * r->output.token_stride + head * r->output.head_stride,
        .queries = r->first_only ? 1 : keys,
        .keys = keys,
        .filled = filled_up(keys),
    };
}
