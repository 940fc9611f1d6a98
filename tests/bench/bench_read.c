/* SPDX-License-Identifier: Apache-2.0 */
/* Whole reads of 2,000 series through the handler out of the two stores: what a sampled and a
 * streamed answer take, of many samples (the cost of a sample) and of one (that of a series). */
#include "bench.h"

#include <pra_stores.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SERIES = 2000 };

#define STR(literal)                                                                               \
    {                                                                                              \
        literal, sizeof(literal) - 1                                                               \
    }

typedef struct shape {
    const char *name;
    const char *metric;
    unsigned samples; /* of each series */
    bool mixed;       /* the order in which the series are written: not that of their labels */
} shape;

typedef struct read_bench {
    const shape *how;
    pra_handler *handler;
    pra_exchange *exchange;
    pra_buffer *message;
    bench_bytes asked[2]; /* by response type */
} read_bench;

static void exchange(read_bench *b, const char *target, bench_bytes body, int32_t status)
{
    pra_exchange *x = b->exchange;
    const pra_request_head head = {
        .size = sizeof head, .method = STR("POST"), .target = {target, strlen(target)}};
    if (pra_exchange_begin(x, &head) == PRA_OK &&
        pra_exchange_feed(x, body.ptr, body.len) == PRA_OK && pra_exchange_end(x) == PRA_OK)
        pra_exchange_run(x);
    bench_require(pra_exchange_status(x) == status, pra_exchange_error(x)->message);
}

static void read_all(read_bench *b, int32_t type)
{
    pra_exchange_stats stats = {.size = sizeof stats};
    const void *piece;
    size_t len;
    int code;
    exchange(b, "/api/v1/read", b->asked[type], 200);
    while ((code = pra_exchange_body(b->exchange, &piece, &len)) == PRA_OK)
        ;
    bench_require(code == PRA_DONE && pra_exchange_get_stats(b->exchange, &stats) == PRA_OK &&
                      stats.version == type && stats.samples == (uint64_t)SERIES * b->how->samples,
                  "not all samples came back");
}

static void run_sampled(void *ctx)
{
    read_all(ctx, PRA_RESPONSE_SAMPLES);
}

static void run_streamed(void *ctx)
{
    read_all(ctx, PRA_RESPONSE_STREAMED_XOR_CHUNKS);
}

/* ---- inputs */

static bench_bytes message_of(pra_buffer *message)
{
    bench_bytes block =
        bench_compress((bench_bytes){(char *)pra_buffer_data(message), pra_buffer_len(message)});
    pra_buffer_reset(message);
    return block;
}

static void add_series(pra_write_request *request, const shape *how, unsigned number)
{
    char instance[64], core[16];
    const unsigned place = how->mixed ? number * 997 % SERIES : number;
    const pra_str name = {how->metric, strlen(how->metric)};
    snprintf(instance, sizeof instance, "host-%03u.example.com:9100", place % 250);
    snprintf(core, sizeof core, "%u", place / 250);
    const pra_label labels[] = {
        {STR("__name__"), name},
        {STR("cpu"), {core, strlen(core)}},
        {STR("instance"), {instance, strlen(instance)}},
        {STR("job"), STR("node")},
        {STR("mode"), STR("idle")},
    };
    bench_require(pra_write_request_add_series(request, labels, 5) == PRA_OK, "add series");
    for (unsigned i = 0; i < how->samples; i++) {
        int64_t t = 1700000000000 + (int64_t)i * 15000;
        double value = 1000.0 + number + i * 0.37;
        bench_require(pra_write_request_add_samples(request, &t, &value, NULL, 1) == PRA_OK,
                      "add sample");
    }
}

static void write_all(read_bench *b)
{
    pra_write_request *request;
    bench_require(pra_write_request_new(NULL, &request) == PRA_OK, "new");
    for (unsigned i = 0; i < SERIES; i++)
        add_series(request, b->how, i);
    bench_require(pra_write_request_encode(request, PRA_WRITE_V1, b->message, NULL) == PRA_OK,
                  "encode");
    bench_bytes block = message_of(b->message);
    exchange(b, "/api/v1/write", block, 204);
    free(block.ptr);
    pra_write_request_free(request);
}

static bench_bytes ask_for(const read_bench *b, int32_t type)
{
    pra_read_request *request;
    const pra_str metric = {b->how->metric, strlen(b->how->metric)};
    bench_require(pra_read_request_new(NULL, &request) == PRA_OK &&
                      pra_read_request_add_query(request, 0, INT64_MAX) == PRA_OK &&
                      pra_read_request_add_matcher(request, PRA_MATCH_EQUAL,
                                                   (pra_str)STR("__name__"), metric) == PRA_OK &&
                      pra_read_request_add_accepted(request, type) == PRA_OK &&
                      pra_read_request_encode(request, b->message, NULL) == PRA_OK,
                  "read request");
    pra_read_request_free(request);
    return message_of(b->message);
}

static void measure_shape(read_bench *b, const shape *how, const char *store,
                          const bench_args *args)
{
    const bench_case cases[] = {
        {"sampled", run_sampled, NULL, 0},
        {"streamed", run_streamed, NULL, how->samples > 1 ? 1 : 0},
    };
    char name[64];
    snprintf(name, sizeof name, "read from %s, %s", store, how->name);
    if (args->only_group && strcmp(args->only_group, name) != 0)
        return;
    b->how = how;
    write_all(b);
    for (int32_t type = 0; type < 2; type++)
        b->asked[type] = ask_for(b, type);
    bench_run(&(bench_group){name, cases, 2, how->samples > 1 ? 2 : 8, b}, args);
    for (int32_t type = 0; type < 2; type++)
        free(b->asked[type].ptr);
}

static void measure(const char *store, const pra_storage *storage, const bench_args *args)
{
    static const shape shapes[] = {
        {"2,000 x 240", "many", 240, false},
        {"2,000 x 1", "one", 1, false},
        {"2,000 x 1, written out of order", "mixed", 1, true},
    };
    read_bench b = {.how = NULL};
    bench_require(pra_handler_new(NULL, storage, NULL, &b.handler, NULL) == PRA_OK &&
                      pra_exchange_new(b.handler, NULL, &b.exchange) == PRA_OK &&
                      pra_buffer_new(NULL, &b.message) == PRA_OK,
                  "set up");
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        measure_shape(&b, &shapes[i], store, args);
    pra_buffer_free(b.message);
    pra_exchange_free(b.exchange);
    pra_handler_free(b.handler);
}

static void measure_store(const char *name, const char *address, const bench_args *args)
{
    pra_storage storage;
    const pra_str at = {address, strlen(address)};
    int rc = pra_store_open(NULL, at, NULL, &storage, NULL);
    if (rc == PRA_ERR_NOT_SUPPORTED)
        return;
    bench_require(rc == PRA_OK, "cannot open the store");
    measure(name, &storage, args);
}

int main(int argc, char **argv)
{
    static const char *const endings[] = {"", "-wal", "-shm", "-lock"};
    char folder[] = "/tmp/pra-bench-XXXXXX", address[64], name[96];
    bench_args args;
    bench_parse(argc, argv, &args);
    measure_store("memory", "memory:", &args);
    bench_require(mkdtemp(folder) != NULL, "cannot make a folder");
    snprintf(address, sizeof address, "sqlite:%s/store.db", folder);
    measure_store("SQLite", address, &args);
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        snprintf(name, sizeof name, "%s%s", address + strlen("sqlite:"), endings[i]);
        unlink(name);
    }
    rmdir(folder);
    return 0;
}
