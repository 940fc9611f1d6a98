/* SPDX-License-Identifier: Apache-2.0 */
/* Remote write 2.0 against 1.0 of the same data: decoding and encoding. */
#include "bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A message of one version, and a handle that decodes it. */
typedef struct message {
    int32_t version;
    bench_bytes raw;
    bench_bytes block;
    pra_write_request *request;
} message;

typedef struct v2_bench {
    bench_heap heap;
    pra_alloc alloc;
    message v1;
    message v2;        /* as few fields as there can be */
    message described; /* with metadata for every series, as Prometheus has it */
    message started;   /* and with start timestamps */
    pra_buffer *out;
} v2_bench;

static void decode_block(message *m)
{
    bench_require(pra_write_request_decode_snappy(m->request, m->version, m->block.ptr,
                                                  m->block.len, NULL, NULL) == PRA_OK,
                  "decode_snappy");
}

static void decode_raw(message *m)
{
    bench_require(pra_write_request_decode(m->request, m->version, m->raw.ptr, m->raw.len, NULL,
                                           NULL) == PRA_OK,
                  "decode");
}

static void decode_canonical(message *m)
{
    decode_block(m);
    bench_require(pra_write_request_canonicalize(m->request, 0, NULL, NULL) == 0, "rejected");
}

static void encode(v2_bench *b, const message *m, int32_t version)
{
    pra_buffer_reset(b->out);
    bench_require(pra_write_request_encode(m->request, version, b->out, NULL) == PRA_OK, "encode");
}

static void run_v1_block(void *ctx)
{
    decode_block(&((v2_bench *)ctx)->v1);
}

static void run_v2_block(void *ctx)
{
    decode_block(&((v2_bench *)ctx)->v2);
}

static void run_described_block(void *ctx)
{
    decode_block(&((v2_bench *)ctx)->described);
}

static void run_started_block(void *ctx)
{
    decode_block(&((v2_bench *)ctx)->started);
}

static void run_v1(void *ctx)
{
    decode_raw(&((v2_bench *)ctx)->v1);
}

static void run_v2(void *ctx)
{
    decode_raw(&((v2_bench *)ctx)->v2);
}

static void run_described(void *ctx)
{
    decode_raw(&((v2_bench *)ctx)->described);
}

static void run_v1_canonical(void *ctx)
{
    decode_canonical(&((v2_bench *)ctx)->v1);
}

static void run_v2_canonical(void *ctx)
{
    decode_canonical(&((v2_bench *)ctx)->v2);
}

static void run_encode_v1(void *ctx)
{
    v2_bench *b = ctx;
    encode(b, &b->v1, PRA_WRITE_V1);
}

static void run_convert_to_v2(void *ctx)
{
    v2_bench *b = ctx;
    encode(b, &b->v1, PRA_WRITE_V2);
}

static void run_encode_v2(void *ctx)
{
    v2_bench *b = ctx;
    encode(b, &b->described, PRA_WRITE_V2);
}

static uint64_t sum_of(const message *m)
{
    pra_columns columns = {.size = sizeof columns};
    bench_require(pra_write_request_columns(m->request, &columns) == PRA_OK, "columns");
    return bench_columns_checksum(&columns);
}

static uint64_t sum_of_v1(void *ctx)
{
    return sum_of(&((v2_bench *)ctx)->v1);
}

static uint64_t sum_of_v2(void *ctx)
{
    return sum_of(&((v2_bench *)ctx)->v2);
}

static uint64_t sum_of_described(void *ctx)
{
    return sum_of(&((v2_bench *)ctx)->described);
}

static uint64_t sum_of_started(void *ctx)
{
    return sum_of(&((v2_bench *)ctx)->started);
}

static const bench_case decode_cases[] = {
    {"1.0: snappy + decode", run_v1_block, sum_of_v1, 0},
    {"2.0: snappy + decode", run_v2_block, sum_of_v2, 0.75},
    {"2.0 with metadata: snappy + decode", run_described_block, sum_of_described, 0.75},
    {"2.0 with metadata and starts: snappy + decode", run_started_block, sum_of_started, 0},
    {"1.0: decode", run_v1, sum_of_v1, 0},
    {"2.0: decode", run_v2, sum_of_v2, 0},
    {"2.0 with metadata: decode", run_described, sum_of_described, 0},
};

static const bench_case canonical_cases[] = {
    {"1.0: snappy + decode + canonicalize", run_v1_canonical, sum_of_v1, 0},
    {"2.0: snappy + decode + canonicalize", run_v2_canonical, sum_of_v2, 0.75},
};

static const bench_case encode_cases[] = {
    {"1.0 from 1.0", run_encode_v1, NULL, 0},
    {"2.0 from 1.0", run_convert_to_v2, NULL, 0},
    {"2.0 from 2.0 with metadata", run_encode_v2, NULL, 0},
};

/* ---- inputs */

static void finish_message(message *m, const v2_bench *b)
{
    m->block = bench_compress(m->raw);
    bench_require(pra_write_request_new(&b->alloc, &m->request) == PRA_OK, "new");
    decode_raw(m);
}

static bench_bytes copy_of(const pra_buffer *buffer)
{
    bench_bytes out = {malloc(pra_buffer_len(buffer)), pra_buffer_len(buffer)};
    bench_require(out.ptr != NULL, "out of memory");
    memcpy(out.ptr, pra_buffer_data(buffer), out.len);
    return out;
}

static pra_str str_at(const pra_columns *c, pra_span span)
{
    return (pra_str){c->base + span.off, span.len};
}

/* The help is that of the name. */
static void add_described(pra_write_request *to, const pra_columns *c, const pra_series *s,
                          int with_starts)
{
    pra_label labels[64];
    pra_str name = {NULL, 0};
    char help[256];
    const int64_t start_ms = s->timestamps_ms[0] - 60000;
    bench_require(s->sample_count == 1, "more than one sample");
    bench_require(s->label_count <= 64, "many labels");
    for (size_t i = 0; i < s->label_count; i++) {
        labels[i] = (pra_label){str_at(c, s->labels[i].name), str_at(c, s->labels[i].value)};
        if (labels[i].name.len == 8 && memcmp(labels[i].name.ptr, "__name__", 8) == 0)
            name = labels[i].value;
    }
    int len = snprintf(help, sizeof help, "What %.*s is about.", (int)name.len, name.ptr);
    bench_require(pra_write_request_add_series(to, labels, s->label_count) == PRA_OK &&
                      pra_write_request_add_samples(to, s->timestamps_ms, s->values,
                                                    with_starts ? &start_ms : NULL, 1) == PRA_OK &&
                      pra_write_request_add_metadata(to, PRA_METRIC_GAUGE, (pra_str){NULL, 0},
                                                     (pra_str){help, (size_t)len},
                                                     (pra_str){NULL, 0}) == PRA_OK,
                  "build");
}

static bench_bytes described(v2_bench *b, int with_starts)
{
    pra_columns c = {.size = sizeof c};
    pra_write_request *built;
    bench_require(pra_write_request_new(&b->alloc, &built) == PRA_OK &&
                      pra_write_request_columns(b->v1.request, &c) == PRA_OK,
                  "new");
    for (size_t i = 0; i < c.series_count; i++) {
        pra_series s = {.size = sizeof s};
        bench_require(pra_columns_series(&c, i, &s) == PRA_OK, "series");
        add_described(built, &c, &s, with_starts);
    }
    pra_buffer_reset(b->out);
    bench_require(pra_write_request_encode(built, PRA_WRITE_V2, b->out, NULL) == PRA_OK, "encode");
    pra_write_request_free(built);
    return copy_of(b->out);
}

static void open_bench(v2_bench *b, size_t series_count)
{
    *b = (v2_bench){.v1 = {.version = PRA_WRITE_V1},
                    .v2 = {.version = PRA_WRITE_V2},
                    .described = {.version = PRA_WRITE_V2},
                    .started = {.version = PRA_WRITE_V2}};
    b->alloc = bench_heap_alloc(&b->heap);
    bench_require(pra_buffer_new(NULL, &b->out) == PRA_OK, "buffer");
    b->v1.raw = bench_write_request(series_count);
    finish_message(&b->v1, b);
    encode(b, &b->v1, PRA_WRITE_V2);
    b->v2.raw = copy_of(b->out);
    finish_message(&b->v2, b);
    b->described.raw = described(b, 0);
    finish_message(&b->described, b);
    b->started.raw = described(b, 1);
    finish_message(&b->started, b);
}

static void close_message(message *m)
{
    pra_write_request_free(m->request);
    free(m->raw.ptr);
    free(m->block.ptr);
}

static void measure_warm(const char *group, v2_bench *b)
{
    decode_canonical(&b->described);
    run_encode_v2(b);
    const size_t before = b->heap.calls;
    decode_canonical(&b->described);
    run_encode_v2(b);
    bench_value(group, "allocator calls, warm", (double)(b->heap.calls - before), "calls", 0);
    bench_value(group, "size of 2.0, of that of 1.0", (double)b->v2.raw.len / (double)b->v1.raw.len,
                "", -1);
}

/* What a new handle takes for one block. */
static void measure_cold(const char *group, const message *m)
{
    bench_heap heap = {0};
    const pra_alloc alloc = bench_heap_alloc(&heap);
    message cold = *m;
    bench_require(pra_write_request_new(&alloc, &cold.request) == PRA_OK, "new");
    decode_canonical(&cold);
    bench_value(group, "peak of the allocator, cold", (double)heap.peak / (1 << 20), "MiB", 12);
    pra_write_request_free(cold.request);
    bench_require(heap.live == 0, "memory left over");
}

static void measure(size_t series_count, const char *series, unsigned iterations,
                    const bench_args *args)
{
    char decode_name[64], canonical_name[64], encode_name[64];
    v2_bench b;
    snprintf(decode_name, sizeof decode_name, "write 2.0: decode %s series", series);
    snprintf(canonical_name, sizeof canonical_name, "write 2.0: canonicalize %s series", series);
    snprintf(encode_name, sizeof encode_name, "write 2.0: encode %s series", series);
    open_bench(&b, series_count);
    bench_case aimed[sizeof decode_cases / sizeof *decode_cases];
    memcpy(aimed, decode_cases, sizeof aimed);
    for (size_t i = 0; series_count != 10000 && i < sizeof aimed / sizeof *aimed; i++)
        aimed[i].target = 0; /* the targets are for the large message */
    bench_group decode = {decode_name, aimed, sizeof aimed / sizeof *aimed, iterations, &b};
    bench_run(&decode, args);
    bench_group canonical = {canonical_name, canonical_cases,
                             sizeof canonical_cases / sizeof *canonical_cases, iterations, &b};
    bench_run(&canonical, args);
    bench_group encoding = {encode_name, encode_cases, sizeof encode_cases / sizeof *encode_cases,
                            iterations, &b};
    bench_run(&encoding, args);
    if (args->only_group == NULL) {
        measure_warm(decode_name, &b);
        measure_cold(decode_name, &b.described);
    }
    close_message(&b.v1);
    close_message(&b.v2);
    close_message(&b.described);
    close_message(&b.started);
    pra_buffer_free(b.out);
    bench_require(b.heap.live == 0, "memory left over");
}

int main(int argc, char **argv)
{
    bench_args args;
    bench_parse(argc, argv, &args);
    measure(10000, "10,000", 8, &args);
    measure(2000, "2,000", 32, &args);
    return 0;
}
