/* SPDX-License-Identifier: Apache-2.0 */
/* A read response of 2,000 series x 240 samples: encoding a sampled one against compressing it, and
 * a whole read of either kind. */
#include "bench.h"

#include <snappy-c.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SERIES = 2000, SAMPLES = 240, LABELS = 7, STEP_MS = 15000 };
static const int64_t start_ms = 1700000000000;

typedef struct response_bench {
    char text[SERIES][LABELS][2][32];
    pra_label labels[SERIES][LABELS];
    int64_t timestamps[SAMPLES];
    double *values; /* SERIES x SAMPLES */
    pra_series_sink *filled;
    pra_buffer *encoded;
    bench_bytes block;
    pra_exchange *exchange;
    pra_buffer *asked[2]; /* by response type */
} response_bench;

static pra_str str_of(const char *cstr)
{
    return (pra_str){cstr, strlen(cstr)};
}

/* A counter or a random walk, like what a node exporter gives. */
static double next_value(size_t series, double value, uint64_t *seed)
{
    *seed = *seed * 6364136223846793005U + 1442695040888963407U;
    double step = (double)(*seed >> 40) / (double)(1 << 20);
    return series % 2 == 0 ? value + (double)(int)step : value + (step - 8) / 3;
}

static void fill(response_bench *b)
{
    static const char *const names[LABELS] = {"__name__", "cluster", "device", "instance",
                                              "job",      "mode",    "zone"};
    uint64_t seed = 1;
    for (size_t i = 0; i < SAMPLES; i++)
        b->timestamps[i] = start_ms + (int64_t)i * STEP_MS;
    for (size_t s = 0; s < SERIES; s++) {
        for (size_t l = 0; l < LABELS; l++) {
            snprintf(b->text[s][l][0], 32, "%s", names[l]);
            snprintf(b->text[s][l][1], 32, "%s_%u", names[l], (unsigned)(l == 3 ? s : s % 17));
            b->labels[s][l] = (pra_label){str_of(b->text[s][l][0]), str_of(b->text[s][l][1])};
        }
        double value = (double)(s * 1000);
        for (size_t i = 0; i < SAMPLES; i++)
            b->values[s * SAMPLES + i] = value = next_value(s, value, &seed);
    }
}

static pra_series_sink *new_filled_sink(const response_bench *b)
{
    pra_series_sink *sink;
    bench_require(pra_series_sink_new(NULL, start_ms, start_ms + (int64_t)SAMPLES * STEP_MS, NULL,
                                      &sink) == PRA_OK,
                  "sink");
    for (size_t s = 0; s < SERIES; s++) {
        bench_require(pra_series_sink_add(sink, b->labels[s], LABELS, b->timestamps,
                                          b->values + s * SAMPLES, SAMPLES, NULL) == PRA_OK,
                      "add");
    }
    return sink;
}

static void encode(response_bench *b, const pra_series_sink *sink)
{
    pra_buffer_reset(b->encoded);
    bench_require(pra_read_response_encode(&sink, 1, b->encoded, NULL) == PRA_OK, "encode");
}

static void run_compress(void *ctx)
{
    response_bench *b = ctx;
    size_t len = b->block.len;
    bench_require(snappy_compress(pra_buffer_data(b->encoded), pra_buffer_len(b->encoded),
                                  b->block.ptr, &len) == SNAPPY_OK,
                  "snappy");
}

static void run_add_encode(void *ctx)
{
    pra_series_sink *sink = new_filled_sink(ctx);
    encode(ctx, sink);
    pra_series_sink_free(sink);
}

static void run_encode(void *ctx)
{
    response_bench *b = ctx;
    encode(b, b->filled);
}

static uint64_t sum_of_encoded(void *ctx)
{
    const response_bench *b = ctx;
    const unsigned char *data = pra_buffer_data(b->encoded);
    uint64_t hash = 0xcbf29ce484222325U;
    for (size_t i = 0; i < pra_buffer_len(b->encoded); i++)
        hash = (hash ^ data[i]) * 0x100000001b3U;
    return hash;
}

/* ---- a whole read, over select and fetch */

static int list_all(void *self, const pra_context *ctx, const pra_query *query,
                    pra_series_list *list, pra_error *err)
{
    const response_bench *b = self;
    int rc = PRA_OK;
    (void)ctx, (void)query;
    for (size_t s = 0; s < SERIES && rc == PRA_OK; s++)
        rc = pra_series_list_add(list, b->labels[s], LABELS, s, err);
    return rc;
}

static int give_all(void *self, const pra_context *ctx, const pra_query *query, uint64_t id,
                    int64_t from_ms, pra_series_sink *sink, pra_error *err)
{
    const response_bench *b = self;
    (void)ctx, (void)query, (void)from_ms;
    return pra_series_sink_samples(sink, b->timestamps, b->values + id * SAMPLES, SAMPLES, err);
}

static const pra_storage_vtbl storage_entries = {
    .size = sizeof storage_entries, .select = list_all, .fetch = give_all};

static pra_buffer *ask_for(int32_t type)
{
    pra_read_request *request = NULL;
    pra_buffer *message = NULL, *body = NULL;
    bench_require(pra_read_request_new(NULL, &request) == PRA_OK &&
                      pra_buffer_new(NULL, &message) == PRA_OK &&
                      pra_buffer_new(NULL, &body) == PRA_OK &&
                      pra_read_request_add_query(request, 0, INT64_MAX) == PRA_OK &&
                      pra_read_request_add_accepted(request, type) == PRA_OK &&
                      pra_read_request_encode(request, message, NULL) == PRA_OK &&
                      pra_snappy_compress(pra_buffer_data(message), pra_buffer_len(message), body,
                                          NULL) == PRA_OK,
                  "request");
    pra_buffer_free(message);
    pra_read_request_free(request);
    return body;
}

static void read_all(response_bench *b, int32_t type)
{
    const pra_request_head head = {
        .size = sizeof head, .method = {"POST", 4}, .target = {"/read", 5}};
    pra_exchange *x = b->exchange;
    pra_exchange_stats stats = {.size = sizeof stats};
    const void *piece;
    size_t len;
    bench_require(pra_exchange_begin(x, &head) == PRA_OK &&
                      pra_exchange_feed(x, pra_buffer_data(b->asked[type]),
                                        pra_buffer_len(b->asked[type])) == PRA_OK &&
                      pra_exchange_end(x) == PRA_OK && pra_exchange_run(x) == PRA_OK &&
                      pra_exchange_status(x) == 200,
                  "read");
    while (pra_exchange_body(x, &piece, &len) == PRA_OK)
        ;
    bench_require(pra_exchange_get_stats(x, &stats) == PRA_OK && stats.version == type &&
                      stats.samples == (uint64_t)SERIES * SAMPLES,
                  "answer");
}

static void run_sampled(void *ctx)
{
    read_all(ctx, PRA_RESPONSE_SAMPLES);
}

static void run_streamed(void *ctx)
{
    read_all(ctx, PRA_RESPONSE_STREAMED_XOR_CHUNKS);
}

static void bench_reads(response_bench *b, const bench_args *args)
{
    static const bench_case cases[] = {
        {"sampled", run_sampled, NULL, 0},
        {"streamed", run_streamed, NULL, 1},
    };
    const pra_storage storage = {&storage_entries, b};
    pra_handler *handler;
    bench_require(pra_handler_new(NULL, &storage, NULL, &handler, NULL) == PRA_OK &&
                      pra_exchange_new(handler, NULL, &b->exchange) == PRA_OK,
                  "handler");
    for (int32_t type = 0; type < 2; type++)
        b->asked[type] = ask_for(type);
    const bench_group group = {"whole read, 2,000 x 240", cases, 2, 2, b};
    bench_run(&group, args);
    for (int32_t type = 0; type < 2; type++)
        pra_buffer_free(b->asked[type]);
    pra_exchange_free(b->exchange);
    pra_handler_free(handler);
}

int main(int argc, char **argv)
{
    static const bench_case cases[] = {
        {"snappy compress alone", run_compress, NULL, 0},
        {"collect + encode", run_add_encode, sum_of_encoded, 0.5},
        {"encode", run_encode, sum_of_encoded, 0},
    };
    bench_args args;
    bench_parse(argc, argv, &args);
    response_bench *b = calloc(1, sizeof *b);
    bench_require(b != NULL, "out of memory");
    b->values = calloc((size_t)SERIES * SAMPLES, sizeof *b->values);
    bench_require(b->values != NULL && pra_buffer_new(NULL, &b->encoded) == PRA_OK,
                  "out of memory");
    fill(b);
    b->filled = new_filled_sink(b);
    encode(b, b->filled);
    b->block.len = snappy_max_compressed_length(pra_buffer_len(b->encoded));
    b->block.ptr = malloc(b->block.len);
    bench_require(b->block.ptr != NULL, "out of memory");

    bench_group group = {"sampled answer, 2,000 x 240", cases, 3, 2, b};
    bench_run(&group, &args);
    if (args.only_group == NULL)
        bench_value(group.name, "encoded", (double)pra_buffer_len(b->encoded) / 1e6, "MB", -1);
    bench_reads(b, &args);

    pra_series_sink_free(b->filled);
    pra_buffer_free(b->encoded);
    free(b->block.ptr);
    free(b->values);
    free(b);
    return 0;
}
