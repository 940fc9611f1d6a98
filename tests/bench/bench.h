/* SPDX-License-Identifier: Apache-2.0 */
/* What the benchmark programs share: interleaved rounds, equal work proved by checksums, inputs, a
 * counting allocator. Programs print one JSON object a line; run.py makes the table.
 *
 *   bench_NAME [--rounds N]                      all groups
 *   bench_NAME --only GROUP CASE ITERATIONS      one case and no clock, for instruction counts
 */
#ifndef PRA_BENCH_H
#define PRA_BENCH_H

#include <pra.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct bench_case {
    const char *name;
    void (*run)(void *ctx);          /* the work on the clock */
    uint64_t (*checksum)(void *ctx); /* of the last run's result, off the clock; NULL: other work */
    double target;                   /* at most this many times case 0; 0 = none */
} bench_case;

/* Cases of a group run in turn, `iterations` times each a round. Case 0 is what the others are
 * compared with. All checksums of a group must agree. */
typedef struct bench_group {
    const char *name;
    const bench_case *cases;
    size_t count;
    unsigned iterations;
    void *ctx;
} bench_group;

typedef struct bench_args {
    unsigned rounds;
    const char *only_group; /* NULL: all */
    const char *only_case;
    unsigned only_iterations;
} bench_args;

void bench_parse(int argc, char **argv, bench_args *out);
void bench_run(const bench_group *group, const bench_args *args);
/* A figure that is not a time. target < 0: none. */
void bench_value(const char *group, const char *name, double value, const char *unit,
                 double target);

/* Ends the program with a message when ok is false. */
void bench_require(bool ok, const char *what);

/* From malloc. */
typedef struct bench_bytes {
    char *ptr;
    size_t len;
} bench_bytes;
/* write-v1-<series_count>-series.pb, recorded from a real sender, where the data folder beside the
 * repository (or $PRA_BENCH_DATA) has it; else series of the same kind, made up. */
bench_bytes bench_write_request(size_t series_count);
bench_bytes bench_read_file(const char *path);
/* One snappy block, made by snappy itself. */
bench_bytes bench_compress(bench_bytes raw);

/* Counts what goes through it. */
typedef struct bench_heap {
    size_t calls;
    size_t live;
    size_t peak;
} bench_heap;
pra_alloc bench_heap_alloc(bench_heap *heap);

/* The consumer: reads length and ends of every string, sums times, mixes value bits. The same for
 * any order of series and of labels in a series. */
uint64_t bench_columns_checksum(const pra_columns *c);

#endif
