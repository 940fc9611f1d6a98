/* SPDX-License-Identifier: Apache-2.0 */
/* A write of 2,000 series through the handler with a storage that does nothing but look. */
#include "bench.h"

#include <snappy-c.h>
#include <stdlib.h>

typedef struct handler_bench {
    bench_bytes raw;
    bench_bytes block;
    bench_bytes block_v2; /* the same data in 2.0 */
    bench_bytes scratch;
    bench_heap heap;
    pra_alloc alloc;
    pra_handler *handler;
    pra_exchange *exchange;
    pra_write_request *request;
    size_t series;     /* that the storage has seen in the last write */
    bool sum_wanted;   /* the storage is to compute the checksum, off the clock */
    uint64_t checksum; /* of what it saw then */
} handler_bench;

static int look(void *self, const pra_context *ctx, const pra_write_request *request,
                pra_write_result *result, pra_error *err)
{
    (void)ctx, (void)result, (void)err;
    handler_bench *b = self;
    pra_columns columns = {.size = sizeof columns};
    int rc = pra_write_request_columns(request, &columns);
    b->series = columns.series_count;
    if (b->sum_wanted)
        b->checksum = bench_columns_checksum(&columns);
    return rc;
}

static const pra_storage_vtbl noop = {.size = sizeof noop, .write = look};

static void run_snappy(void *ctx)
{
    handler_bench *b = ctx;
    size_t len = b->scratch.len;
    bench_require(snappy_uncompress(b->block.ptr, b->block.len, b->scratch.ptr, &len) == SNAPPY_OK,
                  "snappy");
}

static void run_canonicalize(void *ctx)
{
    handler_bench *b = ctx;
    bench_require(pra_write_request_decode_snappy(b->request, PRA_WRITE_V1, b->block.ptr,
                                                  b->block.len, NULL, NULL) == PRA_OK &&
                      pra_write_request_canonicalize(b->request, 0, NULL, NULL) == 0,
                  "decode");
}

#define STR(literal)                                                                               \
    {                                                                                              \
        literal, sizeof(literal) - 1                                                               \
    }

static void exchange(handler_bench *b, bench_bytes block, pra_str type, pra_str version)
{
    const pra_header headers[] = {
        {STR("Host"), STR("127.0.0.1:9201")},
        {STR("User-Agent"), STR("Prometheus/2.42.0")},
        {STR("Content-Encoding"), STR("snappy")},
        {STR("Content-Type"), type},
        {STR("X-Prometheus-Remote-Write-Version"), version},
    };
    const pra_request_head head = {
        .size = sizeof head,
        .method = STR("POST"),
        .target = STR("/api/v1/write"),
        .headers = headers,
        .header_count = sizeof headers / sizeof *headers,
    };
    b->series = 0;
    bench_require(pra_exchange_begin(b->exchange, &head) == PRA_OK &&
                      pra_exchange_feed(b->exchange, block.ptr, block.len) == PRA_OK &&
                      pra_exchange_end(b->exchange) == PRA_OK &&
                      pra_exchange_run(b->exchange) == PRA_OK &&
                      pra_exchange_status(b->exchange) == 204,
                  "exchange");
    bench_require(b->series == 2000, "the storage has not seen all series");
}

static void run_exchange(void *ctx)
{
    handler_bench *b = ctx;
    exchange(b, b->block, (pra_str)STR("application/x-protobuf"), (pra_str)STR("0.1.0"));
}

static void run_exchange_v2(void *ctx)
{
    handler_bench *b = ctx;
    exchange(b, b->block_v2,
             (pra_str)STR("application/x-protobuf;proto=io.prometheus.write.v2.Request"),
             (pra_str)STR("2.0.0"));
}

static uint64_t sum_of_request(void *ctx)
{
    handler_bench *b = ctx;
    pra_columns columns = {.size = sizeof columns};
    bench_require(pra_write_request_columns(b->request, &columns) == PRA_OK, "columns");
    return bench_columns_checksum(&columns);
}

static uint64_t sum_of_exchange(void *ctx)
{
    handler_bench *b = ctx;
    b->sum_wanted = true;
    run_exchange(b);
    b->sum_wanted = false;
    return b->checksum;
}

static uint64_t sum_of_exchange_v2(void *ctx)
{
    handler_bench *b = ctx;
    b->sum_wanted = true;
    run_exchange_v2(b);
    b->sum_wanted = false;
    return b->checksum;
}

static void make_v2(handler_bench *b)
{
    pra_buffer *message;
    bench_require(pra_buffer_new(NULL, &message) == PRA_OK &&
                      pra_write_request_decode(b->request, PRA_WRITE_V1, b->raw.ptr, b->raw.len,
                                               NULL, NULL) == PRA_OK &&
                      pra_write_request_encode(b->request, PRA_WRITE_V2, message, NULL) == PRA_OK,
                  "convert");
    b->block_v2 =
        bench_compress((bench_bytes){(char *)pra_buffer_data(message), pra_buffer_len(message)});
    pra_buffer_free(message);
}

static void measure_warm(const char *group, handler_bench *b)
{
    size_t before = b->heap.calls;
    run_exchange(b);
    bench_value(group, "allocator calls, warm", (double)(b->heap.calls - before), "calls", 0);
    run_exchange_v2(b);
    before = b->heap.calls;
    run_exchange_v2(b);
    bench_value(group, "allocator calls, warm, 2.0", (double)(b->heap.calls - before), "calls", 0);
}

int main(int argc, char **argv)
{
    static const bench_case cases[] = {
        {"snappy alone", run_snappy, NULL, 0},
        {"snappy + decode + canonicalize", run_canonicalize, sum_of_request, 0},
        {"whole exchange", run_exchange, sum_of_exchange, 0},
        {"whole exchange, 2.0", run_exchange_v2, sum_of_exchange_v2, 0},
    };
    bench_args args;
    bench_parse(argc, argv, &args);
    handler_bench b = {0};
    const char *name = "handler, write of 2,000 series";
    b.raw = bench_write_request(2000);
    b.block = bench_compress(b.raw);
    b.scratch = (bench_bytes){malloc(b.raw.len), b.raw.len};
    b.alloc = bench_heap_alloc(&b.heap);
    pra_storage storage = {&noop, &b};
    bench_require(pra_handler_new(&b.alloc, &storage, NULL, &b.handler, NULL) == PRA_OK &&
                      pra_exchange_new(b.handler, NULL, &b.exchange) == PRA_OK &&
                      pra_write_request_new(NULL, &b.request) == PRA_OK,
                  "set up");
    make_v2(&b);
    bench_group group = {name, cases, sizeof cases / sizeof *cases, 32, &b};
    bench_run(&group, &args);
    if (args.only_group == NULL)
        measure_warm(name, &b);
    pra_exchange_free(b.exchange);
    pra_handler_free(b.handler);
    pra_write_request_free(b.request);
    bench_require(b.heap.live == 0, "memory left over");
    free(b.raw.ptr);
    free(b.block.ptr);
    free(b.block_v2.ptr);
    free(b.scratch.ptr);
    return 0;
}
