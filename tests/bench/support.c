/* SPDX-License-Identifier: Apache-2.0 */
#include "bench.h"

#include <snappy-c.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

void bench_require(bool ok, const char *what)
{
    if (!ok) {
        fprintf(stderr, "bench: %s\n", what);
        exit(1);
    }
}

void bench_parse(int argc, char **argv, bench_args *out)
{
    *out = (bench_args){.rounds = 7};
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--rounds") == 0 && i + 1 < argc) {
            out->rounds = (unsigned)strtoul(argv[++i], NULL, 10);
        } else if (strcmp(argv[i], "--only") == 0 && i + 3 < argc) {
            out->only_group = argv[i + 1];
            out->only_case = argv[i + 2];
            out->only_iterations = (unsigned)strtoul(argv[i + 3], NULL, 10);
            i += 3;
        } else {
            bench_require(false, "usage: [--rounds N] [--only GROUP CASE ITERATIONS]");
        }
    }
    bench_require(out->rounds > 0, "--rounds must be positive");
}

/* CPU time of this thread: what other programs on the machine take does not count. */
static double now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static void run_only(const bench_group *group, const bench_args *args)
{
    if (strcmp(args->only_group, group->name) != 0)
        return;
    for (size_t i = 0; i < group->count; i++) {
        if (strcmp(args->only_case, group->cases[i].name) != 0)
            continue;
        for (unsigned n = 0; n < args->only_iterations; n++)
            group->cases[i].run(group->ctx);
    }
}

static double one_sample(const bench_group *group, const bench_case *one)
{
    double start = now_us();
    for (unsigned i = 0; i < group->iterations; i++)
        one->run(group->ctx);
    return (now_us() - start) / group->iterations;
}

/* Runs every case once, outside the clock, and compares the results. */
static void check_equal_work(const bench_group *group)
{
    uint64_t common = 0;
    for (size_t i = 0; i < group->count; i++) {
        const bench_case *one = &group->cases[i];
        one->run(group->ctx);
        if (one->checksum == NULL)
            continue;
        uint64_t sum = one->checksum(group->ctx);
        if (common != 0 && sum != common) {
            fprintf(stderr, "bench: %s / %s: another result than its peers\n", group->name,
                    one->name);
            exit(1);
        }
        common = sum;
    }
}

void bench_run(const bench_group *group, const bench_args *args)
{
    if (args->only_group != NULL) {
        run_only(group, args);
        return;
    }
    check_equal_work(group);
    double *samples = calloc(group->count * args->rounds, sizeof *samples);
    bench_require(samples != NULL, "out of memory");
    for (unsigned round = 0; round < args->rounds; round++) {
        for (size_t i = 0; i < group->count; i++)
            samples[i * args->rounds + round] = one_sample(group, &group->cases[i]);
    }
    check_equal_work(group);
    for (size_t i = 0; i < group->count; i++) {
        const bench_case *one = &group->cases[i];
        printf("{\"group\":\"%s\",\"name\":\"%s\",\"unit\":\"us\",\"target\":%g,\"samples\":[",
               group->name, one->name, one->target);
        for (unsigned round = 0; round < args->rounds; round++)
            printf("%s%.3f", round == 0 ? "" : ",", samples[i * args->rounds + round]);
        printf("]}\n");
    }
    free(samples);
}

void bench_value(const char *group, const char *name, double value, const char *unit, double target)
{
    printf("{\"group\":\"%s\",\"name\":\"%s\",\"unit\":\"%s\",\"value\":%.3f", group, name, unit,
           value);
    if (target >= 0)
        printf(",\"target\":%g", target);
    printf("}\n");
}

void bench_skip(const char *group, const char *why)
{
    printf("{\"group\":\"%s\",\"skipped\":\"%s\"}\n", group, why);
}

/* ---- inputs */

static bool read_file(const char *path, bench_bytes *out)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        return false;
    bench_require(fseek(file, 0, SEEK_END) == 0, "cannot seek");
    out->len = (size_t)ftell(file);
    rewind(file);
    out->ptr = malloc(out->len + 1);
    bench_require(out->ptr != NULL && fread(out->ptr, 1, out->len, file) == out->len,
                  "cannot read");
    fclose(file);
    return true;
}

bench_bytes bench_read_file(const char *path)
{
    bench_bytes bytes = {0};
    bench_require(read_file(path, &bytes), path);
    return bytes;
}

bool bench_data(const char *name, bench_bytes *out)
{
    const char *folder = getenv("PRA_BENCH_DATA");
    char path[4096];
    snprintf(path, sizeof path, "%s/%s",
             folder != NULL ? folder : PRA_TESTS_DIR "/../../shared/data", name);
    return read_file(path, out);
}

bench_bytes bench_compress(bench_bytes raw)
{
    bench_bytes block = {.len = snappy_max_compressed_length(raw.len)};
    block.ptr = malloc(block.len);
    bench_require(block.ptr != NULL &&
                      snappy_compress(raw.ptr, raw.len, block.ptr, &block.len) == SNAPPY_OK,
                  "cannot compress");
    return block;
}

/* ---- the counting allocator */

static void *heap_fn(void *ctx, void *ptr, size_t old_size, size_t new_size)
{
    bench_heap *heap = ctx;
    heap->calls++;
    void *result = pra_alloc_libc()->fn(pra_alloc_libc()->ctx, ptr, old_size, new_size);
    if (new_size == 0 || result != NULL) {
        heap->live += new_size - (ptr != NULL ? old_size : 0);
        if (heap->live > heap->peak)
            heap->peak = heap->live;
    }
    return result;
}

pra_alloc bench_heap_alloc(bench_heap *heap)
{
    return (pra_alloc){.ctx = heap, .fn = heap_fn};
}

/* ---- the consumer */

static uint64_t string_mix(const char *base, pra_span s)
{
    if (s.len == 0)
        return 1;
    uint64_t first = (unsigned char)base[s.off];
    uint64_t last = (unsigned char)base[s.off + s.len - 1];
    return s.len * 0x9e3779b97f4a7c15U + first * 0xc2b2ae3d27d4eb4fU + last * 0x165667b19e3779f9U;
}

uint64_t bench_columns_checksum(const pra_columns *c)
{
    uint64_t sum = c->series_count * 31 + c->label_count * 37 + c->sample_count * 41;
    for (size_t i = 0; i < c->label_count; i++) {
        sum += string_mix(c->base, c->labels[i].name) * 3;
        sum += string_mix(c->base, c->labels[i].value);
    }
    for (size_t i = 0; i < c->sample_count; i++) {
        uint64_t bits;
        memcpy(&bits, &c->values[i], sizeof bits);
        sum += (uint64_t)c->timestamps_ms[i] + (bits ^ (bits >> 29)) * 0x9e3779b97f4a7c15U;
    }
    return sum;
}
