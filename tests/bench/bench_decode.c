/* SPDX-License-Identifier: Apache-2.0 */
/* Remote write 1.0: snappy block to columns, against snappy alone and the plain nanopb decoder. */
#include "bench.h"
#include "nanopb_peer.h"

#include <snappy-c.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { POOL = 16 };

typedef struct decode_bench {
    bench_bytes raw[POOL];
    bench_bytes block[POOL];
    size_t count; /* of the pool in use */
    size_t next;
    bench_bytes scratch; /* where snappy alone writes */
    bench_heap heap;
    pra_alloc alloc;
    pra_write_request *request;
    nanopb_peer *nanopb;
} decode_bench;

static size_t turn(decode_bench *b)
{
    return b->next++ % b->count;
}

static void uncompress(decode_bench *b, size_t i)
{
    size_t len = b->scratch.len;
    bench_require(snappy_uncompress(b->block[i].ptr, b->block[i].len, b->scratch.ptr, &len) ==
                      SNAPPY_OK,
                  "snappy");
}

static void decode_block(decode_bench *b)
{
    size_t i = turn(b);
    bench_require(pra_write_request_decode_snappy(b->request, PRA_WRITE_V1, b->block[i].ptr,
                                                  b->block[i].len, NULL, NULL) == PRA_OK,
                  "decode_snappy");
}

static void run_snappy(void *ctx)
{
    uncompress(ctx, turn(ctx));
}

static void run_snappy_decode(void *ctx)
{
    decode_block(ctx);
}

static void run_decode(void *ctx)
{
    decode_bench *b = ctx;
    size_t i = turn(b);
    bench_require(pra_write_request_decode(b->request, PRA_WRITE_V1, b->raw[i].ptr, b->raw[i].len,
                                           NULL, NULL) == PRA_OK,
                  "decode");
}

static void run_canonicalize(void *ctx)
{
    decode_bench *b = ctx;
    decode_block(b);
    bench_require(pra_write_request_canonicalize(b->request, 0, NULL, NULL) == 0,
                  "series rejected");
}

static void run_consume(void *ctx)
{
    decode_bench *b = ctx;
    decode_block(b);
    pra_columns columns = {.size = sizeof columns};
    bench_require(pra_write_request_columns(b->request, &columns) == PRA_OK, "columns");
    bench_require(bench_columns_checksum(&columns) != 0, "checksum");
}

static void run_nanopb(void *ctx)
{
    decode_bench *b = ctx;
    size_t i = turn(b);
    nanopb_peer_decode(b->nanopb, b->raw[i].ptr, b->raw[i].len);
}

static void run_snappy_nanopb(void *ctx)
{
    decode_bench *b = ctx;
    size_t i = turn(b);
    uncompress(b, i);
    nanopb_peer_decode(b->nanopb, b->scratch.ptr, b->raw[i].len);
}

static uint64_t sum_of_request(void *ctx)
{
    decode_bench *b = ctx;
    pra_columns columns = {.size = sizeof columns};
    bench_require(pra_write_request_columns(b->request, &columns) == PRA_OK, "columns");
    return bench_columns_checksum(&columns);
}

static uint64_t sum_of_nanopb(void *ctx)
{
    decode_bench *b = ctx;
    pra_columns columns;
    nanopb_peer_columns(b->nanopb, &columns);
    return bench_columns_checksum(&columns);
}

static const bench_case cases[] = {
    {"snappy alone", run_snappy, NULL, 0},
    {"snappy + decode", run_snappy_decode, sum_of_request, 3.0},
    {"decode", run_decode, sum_of_request, 0},
    {"snappy + decode + read all", run_consume, sum_of_request, 0},
    {"snappy + decode + canonicalize", run_canonicalize, sum_of_request, 0},
    {"nanopb callbacks, decode", run_nanopb, sum_of_nanopb, 0},
    {"nanopb callbacks, snappy + decode", run_snappy_nanopb, sum_of_nanopb, 0},
};

/* ---- inputs */

/* Length of the element (tag, length, content) at p: what a WriteRequest is a row of. */
static size_t element_length(const char *p)
{
    size_t length = 0, at = 1;
    for (int shift = 0;; shift += 7) {
        unsigned char byte = (unsigned char)p[at++];
        length |= (size_t)(byte & 0x7f) << shift;
        if (byte < 0x80)
            return at + length;
    }
}

/* The same series in another order, so that the branch predictor cannot learn one file. */
static bench_bytes shuffled(bench_bytes raw, size_t series, uint64_t seed)
{
    bench_bytes *elements = calloc(series, sizeof *elements);
    bench_bytes out = {.ptr = malloc(raw.len), .len = raw.len};
    bench_require(elements != NULL && out.ptr != NULL, "out of memory");
    size_t at = 0;
    for (size_t i = 0; i < series; i++) {
        elements[i] = (bench_bytes){raw.ptr + at, element_length(raw.ptr + at)};
        at += elements[i].len;
    }
    bench_require(at == raw.len, "the data is not a row of series");
    at = 0;
    for (size_t left = series; left > 0; left--) {
        seed = seed * 6364136223846793005U + 1442695040888963407U;
        size_t pick = (size_t)(seed >> 33) % left;
        memcpy(out.ptr + at, elements[pick].ptr, elements[pick].len);
        at += elements[pick].len;
        elements[pick] = elements[left - 1];
    }
    free(elements);
    return out;
}

static void open_bench(decode_bench *b, bench_bytes raw)
{
    *b = (decode_bench){.count = 1, .raw = {raw}, .block = {bench_compress(raw)}};
    b->scratch = (bench_bytes){malloc(raw.len), raw.len};
    b->alloc = bench_heap_alloc(&b->heap);
    bench_require(pra_write_request_new(&b->alloc, &b->request) == PRA_OK, "new");
    run_decode(b);
    pra_columns columns = {.size = sizeof columns};
    bench_require(pra_write_request_columns(b->request, &columns) == PRA_OK, "columns");
    b->nanopb = nanopb_peer_new(&columns);
    for (size_t i = 1; i < POOL; i++) {
        b->raw[i] = shuffled(raw, columns.series_count, i);
        b->block[i] = bench_compress(b->raw[i]);
    }
}

static void close_bench(decode_bench *b)
{
    nanopb_peer_free(b->nanopb);
    pra_write_request_free(b->request);
    free(b->scratch.ptr);
    for (size_t i = 0; i < POOL; i++) {
        free(b->raw[i].ptr);
        free(b->block[i].ptr);
    }
}

/* ---- memory */

static double status_mib(const char *field)
{
    char line[256];
    double kib = -1;
    FILE *file = fopen("/proc/self/status", "r");
    bench_require(file != NULL, "/proc/self/status");
    while (fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, field, strlen(field)) == 0)
            kib = strtod(line + strlen(field) + 1, NULL);
    }
    fclose(file);
    return kib / 1024;
}

/* A fresh process that decodes one block once. */
static int cold(const char *group, const char *path)
{
    bench_bytes block = bench_read_file(path);
    double before = status_mib("VmRSS");
    bench_heap heap = {0};
    pra_alloc alloc = bench_heap_alloc(&heap);
    pra_write_request *request;
    bench_require(pra_write_request_new(&alloc, &request) == PRA_OK &&
                      pra_write_request_decode_snappy(request, PRA_WRITE_V1, block.ptr, block.len,
                                                      NULL, NULL) == PRA_OK,
                  "cold decode");
    bench_value(group, "peak of the allocator, cold", (double)heap.peak / (1 << 20), "MiB", 12);
    bench_value(group, "growth of the process (VmHWM), cold", status_mib("VmHWM") - before, "MiB",
                12);
    bench_value(group, "allocator calls, cold", (double)heap.calls, "calls", -1);
    pra_write_request_free(request);
    bench_require(heap.live == 0, "memory left over");
    free(block.ptr);
    return 0;
}

static void run_cold(const char *program, const char *group, bench_bytes block)
{
    char path[] = "/tmp/pra-bench-XXXXXX";
    int fd = mkstemp(path);
    bench_require(fd >= 0 && write(fd, block.ptr, block.len) == (ssize_t)block.len, "temp file");
    close(fd);
    fflush(stdout);
    pid_t child = fork();
    bench_require(child >= 0, "fork");
    if (child == 0) {
        execl(program, program, "--cold", group, path, (char *)NULL);
        _exit(127);
    }
    int status = -1;
    bench_require(waitpid(child, &status, 0) == child && status == 0, "the cold run failed");
    unlink(path);
}

static void measure_warm_calls(const char *group, decode_bench *b)
{
    for (int i = 0; i < POOL; i++)
        run_canonicalize(b);
    size_t before = b->heap.calls;
    for (int i = 0; i < POOL; i++)
        run_canonicalize(b);
    bench_value(group, "allocator calls, warm", (double)(b->heap.calls - before), "calls", 0);
}

static void measure(const char *program, const char *group, size_t series_count,
                    unsigned iterations, const bench_args *args)
{
    char pooled[64];
    snprintf(pooled, sizeof pooled, "%s, %d orders of series", group, POOL);
    decode_bench b;
    open_bench(&b, bench_write_request(series_count));
    bench_group single = {group, cases, sizeof cases / sizeof *cases, iterations, &b};
    bench_run(&single, args);
    b.count = POOL;
    bench_group pool = {pooled, cases, sizeof cases / sizeof *cases, POOL, &b};
    bench_run(&pool, args);
    if (args->only_group == NULL) {
        measure_warm_calls(group, &b);
        run_cold(program, group, b.block[0]);
    }
    close_bench(&b);
}

int main(int argc, char **argv)
{
    if (argc == 4 && strcmp(argv[1], "--cold") == 0)
        return cold(argv[2], argv[3]);
    bench_args args;
    bench_parse(argc, argv, &args);
    measure(argv[0], "decode 10,000 series", 10000, 8, &args);
    measure(argv[0], "decode 2,000 series", 2000, 32, &args);
    return 0;
}
