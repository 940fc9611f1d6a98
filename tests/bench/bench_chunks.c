/* SPDX-License-Identifier: Apache-2.0 */
/* Chunks of 120 samples. Where Go is there, run.py measures Prometheus' own encoder on the same
 * data in turn with this (tests/peers/chunks), and its rows are what these are compared with. */
#include "bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "wire/crc32c.h"

enum { CHUNKS = 1000, SAMPLES = 120, STEP_MS = 15000 };

typedef struct chunk_bench {
    int64_t timestamps[CHUNKS][SAMPLES];
    double values[CHUNKS][SAMPLES];
    pra_buffer *encoded; /* all chunks */
    size_t ends[CHUNKS];
    pra_write_request *decoded;
} chunk_bench;

enum kind { CONSTANT, COUNTER, WALK, JITTER };

static uint64_t next_random(uint64_t *state)
{
    *state = *state * 6364136223846793005U + 1442695040888963407U;
    return *state >> 33;
}

/* The same as tests/peers/chunks/bench.go makes. */
static void fill(chunk_bench *b, enum kind kind)
{
    uint64_t seed = 1;
    for (size_t c = 0; c < CHUNKS; c++) {
        double value = (double)(c * 1000);
        for (size_t i = 0; i < SAMPLES; i++) {
            uint64_t random = next_random(&seed);
            if (kind == COUNTER)
                value += (double)(random % 100);
            else if (kind != CONSTANT)
                value += ((double)random - 1073741824.0) / 1073741824.0;
            int64_t jitter = kind == JITTER ? (int64_t)(next_random(&seed) % 7) - 3 : 0;
            b->timestamps[c][i] = 1700000000000 + (int64_t)i * STEP_MS + jitter;
            b->values[c][i] = value;
        }
    }
}

static void run_encode(void *ctx)
{
    chunk_bench *b = ctx;
    pra_buffer_reset(b->encoded);
    for (size_t c = 0; c < CHUNKS; c++) {
        bench_require(
            pra_chunk_encode_samples(b->timestamps[c], b->values[c], SAMPLES, b->encoded) == PRA_OK,
            "encode");
        b->ends[c] = pra_buffer_len(b->encoded);
    }
}

static void run_decode(void *ctx)
{
    chunk_bench *b = ctx;
    const char *data = pra_buffer_data(b->encoded);
    pra_write_request_reset(b->decoded);
    bench_require(pra_write_request_add_series(b->decoded, NULL, 0) == PRA_OK, "series");
    for (size_t c = 0, start = 0; c < CHUNKS; start = b->ends[c++])
        bench_require(pra_chunk_decode(PRA_CHUNK_XOR, data + start, b->ends[c] - start, b->decoded,
                                       NULL, NULL) == PRA_OK,
                      "decode");
}

static volatile uint32_t sink;

static void run_crc(void *ctx)
{
    chunk_bench *b = ctx;
    sink = pra__crc32c(b->values, sizeof b->values);
}

static void run_crc_portable(void *ctx)
{
    chunk_bench *b = ctx;
    sink = pra__crc32c_portable(b->values, sizeof b->values);
}

static void measure(chunk_bench *b, const char *name, enum kind kind, const bench_args *args)
{
    static const bench_case encode = {"libpra", run_encode, NULL, 1.0 / 3};
    static const bench_case decode = {"libpra", run_decode, NULL, 1};
    char encode_name[64], decode_name[64];
    snprintf(encode_name, sizeof encode_name, "120,000 samples to XOR chunks, %s", name);
    snprintf(decode_name, sizeof decode_name, "120,000 samples from XOR chunks, %s", name);
    fill(b, kind);
    run_encode(b);
    bench_run(&(bench_group){encode_name, &encode, 1, 20, b}, args);
    bench_run(&(bench_group){decode_name, &decode, 1, 20, b}, args);
}

int main(int argc, char **argv)
{
    static const bench_case crc[] = {
        {"by tables", run_crc_portable, NULL, 0},
        {"as used", run_crc, NULL, 0},
    };
    bench_args args;
    bench_parse(argc, argv, &args);
    chunk_bench *b = calloc(1, sizeof *b);
    bench_require(b != NULL && pra_buffer_new(NULL, &b->encoded) == PRA_OK &&
                      pra_write_request_new(NULL, &b->decoded) == PRA_OK,
                  "out of memory");
    measure(b, "constant", CONSTANT, &args);
    measure(b, "counter", COUNTER, &args);
    measure(b, "random walk", WALK, &args);
    measure(b, "random walk, jitter", JITTER, &args);
    bench_run(&(bench_group){"CRC-32C of 960,000 bytes", crc, 2, 20, b}, &args);
    pra_buffer_free(b->encoded);
    pra_write_request_free(b->decoded);
    free(b);
    return 0;
}
