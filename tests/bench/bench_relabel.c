/* SPDX-License-Identifier: Apache-2.0 */
/* Relabelling of a decoded request into another one, beside snappy and the whole decoder. */
#include "bench.h"

#include <snappy-c.h>
#include <stdlib.h>

#include "support/relabelling.h"

#pragma GCC diagnostic ignored "-Wmissing-field-initializers"

static const struct rules {
    const char *name;
    struct short_rule rules[8];
} lists[] = {
    {"no rules", {{NULL}}},
    {"drop by name", {{"drop", "__name__", "(go|process)_.*"}}},
    {"instance without its port", {{"replace", "instance", "([^:]+):\\d+", "instance", "$1"}}},
    {"labeldrop", {{"labeldrop", NULL, "(instance|replica)"}}},
    {"labeldrop by regex", {{"labeldrop", NULL, "inst.n[a-c]e"}}},
    {"hashmod of all, keep",
     {{"hashmod", "__name__,instance,job", NULL, "__tmp_hash", .modulus = 4},
      {"keep", "__tmp_hash", "[0-2]"},
      {"labeldrop", NULL, "__tmp_hash"}}},
    {"hashmod of instance, keep",
     {{"hashmod", "instance", NULL, "__tmp_hash", .modulus = 4},
      {"keep", "__tmp_hash", "[0-9]"},
      {"labeldrop", NULL, "__tmp_hash"}}},
    {"labelmap", {{"labelmap", NULL, "(inst.*|job)", NULL, "x_$1"}}},
    {"all of the first three",
     {{"drop", "__name__", "(go|process)_.*"},
      {"replace", "instance", "([^:]+):\\d+", "instance", "$1"},
      {"labeldrop", NULL, "replica"}}},
};

enum { LISTS = sizeof(lists) / sizeof(lists[0]) };

typedef struct relabel_bench {
    bench_bytes block;
    bench_bytes scratch;
    pra_write_request *decoding; /* into which the block is decoded, on the clock */
    pra_write_request *in;
    pra_write_request *out;
    pra_relabel *relabel[LISTS];
    bench_heap heap;
    pra_alloc alloc;
} relabel_bench;

static void run_snappy(void *ctx)
{
    relabel_bench *b = ctx;
    size_t len = b->scratch.len;
    bench_require(snappy_uncompress(b->block.ptr, b->block.len, b->scratch.ptr, &len) == SNAPPY_OK,
                  "snappy");
}

static void run_decode(void *ctx)
{
    relabel_bench *b = ctx;
    bench_require(pra_write_request_decode_snappy(b->decoding, PRA_WRITE_V1, b->block.ptr,
                                                  b->block.len, NULL, NULL) == PRA_OK,
                  "decode");
}

static void relabel(relabel_bench *b, int i)
{
    pra_write_request_reset(b->out);
    bench_require(pra_write_request_relabel(b->in, b->relabel[i], b->out, NULL, NULL) == PRA_OK,
                  "relabel");
}

#define RUN(n)                                                                                     \
    static void run_##n(void *ctx)                                                                 \
    {                                                                                              \
        relabel(ctx, n);                                                                           \
    }
RUN(0)
RUN(1)
RUN(2)
RUN(3)
RUN(4)
RUN(5)
RUN(6)
RUN(7)
RUN(8)

static void (*const runs[LISTS])(void *) = {run_0, run_1, run_2, run_3, run_4,
                                            run_5, run_6, run_7, run_8};

static void run_split(void *ctx)
{
    relabel_bench *b = ctx;
    pra_write_request *parts[] = {b->out, b->decoding};
    pra_write_request_reset(b->out);
    pra_write_request_reset(b->decoding);
    bench_require(pra_write_request_split(b->in, parts, 2, NULL) == PRA_OK, "split");
}

static void measure(const char *group, size_t series, unsigned iterations, const bench_args *args)
{
    relabel_bench b = {.heap = {0}};
    bench_bytes raw = bench_write_request(series);
    bench_case cases[LISTS + 3] = {{"snappy alone", run_snappy, NULL, 0},
                                   {"snappy + decode", run_decode, NULL, 0},
                                   {"split in two", run_split, NULL, 0}};
    b.alloc = bench_heap_alloc(&b.heap);
    b.block = bench_compress(raw);
    b.scratch = (bench_bytes){malloc(raw.len), raw.len};
    bench_require(b.scratch.ptr && pra_write_request_new(NULL, &b.decoding) == PRA_OK &&
                      pra_write_request_new(NULL, &b.in) == PRA_OK &&
                      pra_write_request_new(&b.alloc, &b.out) == PRA_OK &&
                      pra_write_request_decode(b.in, PRA_WRITE_V1, raw.ptr, raw.len, NULL, NULL) ==
                          PRA_OK,
                  "input");
    for (int i = 0; i < LISTS; i++) {
        bench_require(relabel_of(NULL, lists[i].rules, NULL, &b.relabel[i], NULL) == PRA_OK,
                      "rules");
        cases[i + 3] = (bench_case){lists[i].name, runs[i], NULL, 0};
    }
    bench_group all = {group, cases, LISTS + 3, iterations, &b};
    bench_run(&all, args);
    if (!args->only_group) {
        const size_t before = b.heap.calls;
        for (int i = 0; i < LISTS; i++)
            relabel(&b, i);
        bench_value(group, "allocator calls, warm", (double)(b.heap.calls - before), "calls", 0);
    }
    for (int i = 0; i < LISTS; i++)
        pra_relabel_free(b.relabel[i]);
    pra_write_request_free(b.decoding);
    pra_write_request_free(b.in);
    pra_write_request_free(b.out);
    free(raw.ptr);
    free(b.block.ptr);
    free(b.scratch.ptr);
}

int main(int argc, char **argv)
{
    bench_args args;
    bench_parse(argc, argv, &args);
    measure("relabel 10,000 series", 10000, 4, &args);
    measure("relabel 2,000 series", 2000, 16, &args);
    return 0;
}
