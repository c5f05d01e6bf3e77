/*
 * Attention of packed segments on a CPU: each one's queries over its own keys, each segment and head a task of its own.
 *
 * torch's scaled_dot_product_attention takes a call a segment, and is made for thousands of tokens; pairs have a
 * hundred. Here a head's keys and values fit the cache, so a few rows of scores are computed whole, become weights in
 * place, and are multiplied with the values.
 */
#include <math.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>

#include "attention.h"
#include "parallel.h"

#if defined(__x86_64__)

#define SET avx2
#define TARGET __attribute__((target("avx2,fma")))
#define LANES 8
#define ROWS 6
#include "attention_f32.h"

#define SET avx512
#define TARGET __attribute__((target("avx512f")))
#define LANES 16
#define ROWS 8
#include "attention_f32.h"

#include "attention_bf16.h"

#else

#define SET plain
#define TARGET
#define LANES 4
#define ROWS 8
#include "attention_f32.h"

#endif

typedef struct {
    const Request *asked;
    Head head;
    atomic_llong next;
    atomic_int out_of_memory;
} Run;

static void *part(char **next, int64_t bytes) {
    void *here = *next;
    *next += (bytes + 63) / 64 * 64;
    return here;
}

/* A thread's part: takes the next head until there is none, since segments differ in length. */
static void work(int64_t begin, int64_t end, void *context) {
    (void)begin, (void)end;
    Run *run = context;
    const Request *r = run->asked;
    const int64_t filled = filled_up(r->longest);
    const int64_t states = 4 * filled * r->width, rows = 4 * MOST_ROWS * (filled > r->width ? filled : r->width);
    char *memory = malloc(2 * states + 3 * rows + 5 * 64), *next = memory;
    if (memory == NULL) {
        atomic_store(&run->out_of_memory, 1);
        return;
    }
    Scratch scratch;
    scratch.keys = part(&next, states);
    scratch.values = part(&next, states);
    scratch.weights = part(&next, rows);
    scratch.scores = part(&next, rows);
    scratch.queries = part(&next, rows);
    const int64_t tasks = r->segments * r->heads;
    for (int64_t task; (task = atomic_fetch_add(&run->next, 1)) < tasks;)
        run->head(r, &scratch, task / r->heads, task % r->heads);
    free(memory);
}

/* Computes `output`; returns 0, -1 where memory lacks, or the failure of `parallel_for`. */
static int32_t attention(const Request *asked, Head head, int64_t threads, ParallelFor parallel_for) {
    Run run = {.asked = asked, .head = head};
    const int32_t failure = parallel_for(0, threads, 1, work, &run);
    return failure ? failure : -atomic_load(&run.out_of_memory);
}

/* One for each precision and instruction set. */
#define EXPORTED(name, head) \
    int32_t name(const Request *asked, int64_t threads, ParallelFor parallel_for) { \
        return attention(asked, head, threads, parallel_for); \
    }

#if defined(__x86_64__)
EXPORTED(attention_bf16_avx512, head_bf16)
EXPORTED(attention_f32_avx512, head_f32_avx512)
EXPORTED(attention_f32_avx2, head_f32_avx2)
#else
EXPORTED(attention_f32_plain, head_f32_plain)
#endif
