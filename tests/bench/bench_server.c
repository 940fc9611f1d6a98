/* SPDX-License-Identifier: Apache-2.0 */
/* A write of 2,000 series over a socket to libpra_server with a storage that does nothing but look,
 * beside the same request given to an exchange directly; and reads of 2,000 series x 240 samples.
 */
#define _GNU_SOURCE
#include "bench.h"

#include <pra_server.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

#include "support/http_client.h"

enum { SENDERS = 4, REQUESTS = 500 };

typedef struct server_bench {
    bench_bytes raw, block;
    pra_handler *handler;
    pra_exchange *exchange;
    pra_server *server;
} server_bench;

static int look(void *self, const pra_context *ctx, const pra_write_request *request,
                pra_write_result *result, pra_error *err)
{
    (void)self, (void)ctx, (void)result, (void)err;
    pra_columns columns = {.size = sizeof columns};
    int rc = pra_write_request_columns(request, &columns);
    return rc ? rc : columns.series_count == 2000 ? PRA_OK : PRA_ERR_REJECT;
}

static void run_exchange(void *ctx)
{
    server_bench *b = ctx;
    static const pra_request_head head = {
        .size = sizeof head, .method = {"POST", 4}, .target = {"/api/v1/write", 13}};
    bench_require(pra_exchange_begin(b->exchange, &head) == PRA_OK &&
                      pra_exchange_feed(b->exchange, b->block.ptr, b->block.len) == PRA_OK &&
                      pra_exchange_end(b->exchange) == PRA_OK &&
                      pra_exchange_run(b->exchange) == PRA_OK &&
                      pra_exchange_status(b->exchange) == 204,
                  "exchange");
}

static void roundtrip(const server_bench *b, struct http_client *client)
{
    struct http_answer answer;
    bench_require(http_post(client, "/api/v1/write", "Content-Type: application/x-protobuf\r\n",
                            b->block.ptr, b->block.len),
                  "send");
    http_read(client, &answer, 0);
    free(answer.body);
    bench_require(answer.status == 204, "answer");
}

static double cpu_us(int who)
{
    struct rusage use;
    bench_require(getrusage(who, &use) == 0, "getrusage");
    return (double)(use.ru_utime.tv_sec + use.ru_stime.tv_sec) * 1e6 +
           (double)(use.ru_utime.tv_usec + use.ru_stime.tv_usec);
}

typedef struct sender {
    pthread_t thread;
    const server_bench *bench;
    double cpu_us;
} sender;

static void *send_many(void *arg)
{
    sender *s = arg;
    struct http_client client;
    http_open(&client, pra_server_port(s->bench->server, 0));
    for (int i = 0; i < REQUESTS; i++)
        roundtrip(s->bench, &client);
    http_close(&client);
    s->cpu_us = cpu_us(RUSAGE_THREAD);
    return NULL;
}

/* Requests per second from several connections, and what one costs the server's threads. */
static void measure_load(const server_bench *b, const char *group)
{
    sender senders[SENDERS];
    struct timespec from, to;
    double server_us = -cpu_us(RUSAGE_SELF);
    clock_gettime(CLOCK_MONOTONIC, &from);
    for (int i = 0; i < SENDERS; i++) {
        senders[i].bench = b;
        bench_require(pthread_create(&senders[i].thread, NULL, send_many, &senders[i]) == 0,
                      "thread");
    }
    for (int i = 0; i < SENDERS; i++) {
        pthread_join(senders[i].thread, NULL);
        server_us -= senders[i].cpu_us;
    }
    clock_gettime(CLOCK_MONOTONIC, &to);
    server_us += cpu_us(RUSAGE_SELF);
    double seconds = (double)(to.tv_sec - from.tv_sec) + (double)(to.tv_nsec - from.tv_nsec) / 1e9;
    bench_value(group, "requests, 4 connections, client included", SENDERS * REQUESTS / seconds,
                "/s", -1);
    bench_value(group, "CPU of the server per request", server_us / (SENDERS * REQUESTS), "us", -1);
}

/* ---- reads */

enum { SAMPLES = 240, READS = 10 };

static int list_all(void *self, const pra_context *ctx, const pra_query *query,
                    pra_series_list *list, pra_error *err)
{
    int rc = PRA_OK;
    (void)self, (void)ctx, (void)query;
    for (uint64_t id = 0; id < 2000 && rc == PRA_OK; id++) {
        char host[32];
        int len = snprintf(host, sizeof host, "host-%04u:9100", (unsigned)id);
        const pra_label labels[] = {{{"__name__", 8}, {"node_cpu_seconds_total", 22}},
                                    {{"instance", 8}, {host, (size_t)len}},
                                    {{"job", 3}, {"node", 4}}};
        rc = pra_series_list_add(list, labels, 3, id, err);
    }
    return rc;
}

static int give_all(void *self, const pra_context *ctx, const pra_query *query, uint64_t id,
                    int64_t from_ms, pra_series_sink *sink, pra_error *err)
{
    int64_t timestamps_ms[SAMPLES];
    double values[SAMPLES];
    (void)self, (void)ctx, (void)query, (void)from_ms;
    for (size_t i = 0; i < SAMPLES; i++) {
        timestamps_ms[i] = 1700000000000 + (int64_t)i * 15000;
        values[i] = (double)(id * 1000 + i * (id % 13)) / 3;
    }
    return pra_series_sink_samples(sink, timestamps_ms, values, SAMPLES, err);
}

static bench_bytes ask_for(int32_t type)
{
    pra_read_request *request = NULL;
    pra_buffer *message = NULL;
    bench_require(pra_read_request_new(NULL, &request) == PRA_OK &&
                      pra_buffer_new(NULL, &message) == PRA_OK &&
                      pra_read_request_add_query(request, 0, INT64_MAX) == PRA_OK &&
                      pra_read_request_add_accepted(request, type) == PRA_OK &&
                      pra_read_request_encode(request, message, NULL) == PRA_OK,
                  "read request");
    bench_bytes body =
        bench_compress((bench_bytes){(char *)pra_buffer_data(message), pra_buffer_len(message)});
    pra_buffer_free(message);
    pra_read_request_free(request);
    return body;
}

/* CPU time of all threads, the client's too, for one read. */
static double read_us(struct http_client *client, bench_bytes asked)
{
    struct http_answer answer;
    double us = -cpu_us(RUSAGE_SELF);
    bench_require(http_post(client, "/api/v1/read", "Content-Type: application/x-protobuf\r\n",
                            asked.ptr, asked.len),
                  "send");
    http_read(client, &answer, 0);
    us += cpu_us(RUSAGE_SELF);
    bench_require(answer.status == 200 && answer.body_len > 2000 * SAMPLES / 2, "answer");
    free(answer.body);
    return us;
}

static void measure_reads(const server_bench *b)
{
    static const char group[] = "server, read of 2,000 x 240";
    double us[2] = {0, 0};
    bench_bytes asked[2]; /* by response type */
    struct http_client client;
    http_open(&client, pra_server_port(b->server, 0));
    for (int32_t type = 0; type < 2; type++) {
        asked[type] = ask_for(type);
        read_us(&client, asked[type]);
    }
    for (int i = 0; i < READS; i++)
        for (int32_t type = 0; type < 2; type++)
            us[type] += read_us(&client, asked[type]) / READS;
    bench_value(group, "CPU of a sampled one, client included", us[PRA_RESPONSE_SAMPLES], "us", -1);
    bench_value(group, "CPU of a streamed one, client included",
                us[PRA_RESPONSE_STREAMED_XOR_CHUNKS], "us", -1);
    bench_value(group, "streamed, of sampled",
                us[PRA_RESPONSE_STREAMED_XOR_CHUNKS] / us[PRA_RESPONSE_SAMPLES], "", 1);
    for (int32_t type = 0; type < 2; type++)
        free(asked[type].ptr);
    http_close(&client);
}

static void set_up(server_bench *b)
{
    static const char *const any[] = {"127.0.0.1:0"};
    const pra_server_opts opts = {.size = sizeof opts, .listen_cstr = any, .listen_count = 1};
    static const pra_storage_vtbl entries = {
        .size = sizeof entries, .write = look, .select = list_all, .fetch = give_all};
    pra_storage storage = {&entries, b};
    b->block = bench_compress(b->raw);
    bench_require(pra_handler_new(NULL, &storage, NULL, &b->handler, NULL) == PRA_OK &&
                      pra_exchange_new(b->handler, NULL, &b->exchange) == PRA_OK &&
                      pra_server_new(NULL, b->handler, &opts, &b->server, NULL) == PRA_OK &&
                      pra_server_start(b->server, NULL) == PRA_OK,
                  "set up");
}

static void tear_down(server_bench *b)
{
    pra_server_free(b->server);
    pra_exchange_free(b->exchange);
    pra_handler_free(b->handler);
    free(b->raw.ptr);
    free(b->block.ptr);
}

int main(int argc, char **argv)
{
    static const bench_case cases[] = {
        {"exchange alone", run_exchange, NULL, 0},
    };
    bench_args args;
    bench_parse(argc, argv, &args);
    server_bench b = {0};
    const char *name = "server, write of 2,000 series";
    b.raw = bench_write_request(2000);
    set_up(&b);
    bench_group group = {name, cases, 1, 32, &b};
    bench_run(&group, &args);
    if (args.only_group == NULL) {
        measure_load(&b, name);
        measure_reads(&b);
    }
    tear_down(&b);
    return 0;
}
