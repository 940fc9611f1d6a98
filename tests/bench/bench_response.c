/* SPDX-License-Identifier: Apache-2.0 */
/* A sampled read response of 2,000 series x 240 samples: encoding it against compressing it. */
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

    pra_series_sink_free(b->filled);
    pra_buffer_free(b->encoded);
    free(b->block.ptr);
    free(b->values);
    free(b);
    return 0;
}
