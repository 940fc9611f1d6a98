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

static pra_str text_of(char *room, size_t size, const char *format, size_t number)
{
    int len = snprintf(room, size, format, number);
    return (pra_str){room, (size_t)len};
}

#define TEXT(literal) ((pra_str){literal, sizeof(literal) - 1})

/* One sample of one series of a node exporter's kind: 5 to 8 labels. */
static void add_made_up(pra_write_request *request, size_t i)
{
    char name[64], host[32], cpu[32], device[32];
    const pra_label labels[] = {
        {TEXT("__name__"), text_of(name, sizeof name, "node_subsystem_%zu_seconds_total", i % 300)},
        {TEXT("cpu"), text_of(cpu, sizeof cpu, "%zu", i % 64)},
        {TEXT("device"), text_of(device, sizeof device, "nvme%zun1", i % 7)},
        {TEXT("fstype"), TEXT("ext4")},
        {TEXT("instance"), text_of(host, sizeof host, "host-%zu", i * 7 % 1000)},
        {TEXT("job"), TEXT("node_exporter")},
        {TEXT("replica"), TEXT("0")},
        {TEXT("revision"), TEXT("r0")},
    };
    pra_label chosen[8];
    size_t count = 0;
    for (size_t k = 0; k < 8; k++) {
        if (k < 1 || k > 3 || i / 300 % 4 >= k)
            chosen[count++] = labels[k];
    }
    int64_t timestamp_ms = 1700000000000 + (int64_t)(i % 50);
    double value = (double)i * 1.1;
    bench_require(pra_write_request_add_series(request, chosen, count) == PRA_OK &&
                      pra_write_request_add_samples(request, &timestamp_ms, &value, NULL, 1) ==
                          PRA_OK,
                  "make series up");
}

static bench_bytes made_up(size_t series_count)
{
    pra_write_request *request;
    pra_buffer *message;
    bench_require(pra_write_request_new(NULL, &request) == PRA_OK &&
                      pra_buffer_new(NULL, &message) == PRA_OK,
                  "make a request up");
    for (size_t i = 0; i < series_count; i++)
        add_made_up(request, i);
    bench_require(pra_write_request_encode(request, PRA_WRITE_V1, message, NULL) == PRA_OK,
                  "encode");
    bench_bytes bytes = {malloc(pra_buffer_len(message)), pra_buffer_len(message)};
    bench_require(bytes.ptr != NULL, "memory");
    memcpy(bytes.ptr, pra_buffer_data(message), bytes.len);
    pra_buffer_free(message);
    pra_write_request_free(request);
    return bytes;
}

bench_bytes bench_write_request(size_t series_count)
{
    const char *folder = getenv("PRA_BENCH_DATA");
    bench_bytes bytes;
    char path[4096];
    snprintf(path, sizeof path, "%s/write-v1-%zu-series.pb",
             folder != NULL ? folder : PRA_TESTS_DIR "/../../shared/data", series_count);
    return read_file(path, &bytes) ? bytes : made_up(series_count);
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
