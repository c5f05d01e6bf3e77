/* What is asked of the kernel, and what a thread works with. */
#pragma once

#include <stdint.h>

#define MOST_ROWS 8  /* queries at a time */
#define KEYS_STEP 32 /* keys are filled up to a multiple of it, and widths must be one */
#define LOG2_E 1.44269504088896340736f

typedef struct {
    char *data;
    int64_t token_stride, head_stride; /* in bytes; a head's numbers lie side by side */
} States;

typedef struct {
    States query, key, value, output;
    const int32_t *query_bounds, *key_bounds; /* those of segment i go from bounds[i] to bounds[i + 1] */
    int64_t segments, heads, width;
    int64_t group;   /* neighbouring heads that share a head of keys and values */
    int64_t longest; /* the most keys of a segment */
    int64_t reach;   /* how far a query sees to both sides where it has as many keys as queries; -1: everything */
    int32_t causal;  /* whether the last query sees all keys, and each one before it one key less */
    float scaling;
} Request;

/* A thread's memory, enough for the longest segment. */
typedef struct {
    void *keys, *values, *weights;
    float *queries, *scores;
} Scratch;

typedef void (*Head)(const Request *, const Scratch *, int64_t segment, int64_t head);

/* One head of one segment. */
typedef struct {
    const char *query, *key, *value;
    char *output;
    int64_t queries, keys;
} Task;

static inline int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

static inline int64_t filled_up(int64_t keys) { return (keys + KEYS_STEP - 1) / KEYS_STEP * KEYS_STEP; }

static inline Task task_of(const Request *r, int64_t segment, int64_t head) {
    const int64_t query = r->query_bounds[segment], key = r->key_bounds[segment], shared = head / r->group;
    return (Task){
        .query = r->query.data + query * r->query.token_stride + head * r->query.head_stride,
        .key = r->key.data + key * r->key.token_stride + shared * r->key.head_stride,
        .value = r->value.data + key * r->value.token_stride + shared * r->value.head_stride,
        .output = r->output.data + query * r->output.token_stride + head * r->output.head_stride,
        .queries = r->query_bounds[segment + 1] - query,
        .keys = r->key_bounds[segment + 1] - key,
    };
}

/* The keys that a query sees. */
typedef struct {
    int64_t from, to;
} Seen;

static inline Seen seen_by(const Request *r, const Task *task, int64_t query) {
    if (r->causal) return (Seen){0, task->keys - task->queries + query + 1};
    if (r->reach < 0) return (Seen){0, task->keys};
    return (Seen){query > r->reach ? query - r->reach : 0, least(task->keys, query + r->reach + 1)};
}

/* The keys that some of `rows` queries see, in whole steps. */
static inline Seen block_of(const Request *r, const Task *task, int64_t query, int64_t rows) {
    const int64_t from = seen_by(r, task, query).from / KEYS_STEP * KEYS_STEP;
    return (Seen){from, from + filled_up(seen_by(r, task, query + rows - 1).to - from)};
}
