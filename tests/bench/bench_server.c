/* SPDX-License-Identifier: Apache-2.0 */
/* A write of 2,000 series over a socket to libpra_server with a storage that does nothing but look,
 * beside the same request given to an exchange directly; and reads of 2,000 series x 240 samples.
 */
#include "serving.h"

#include <pra_server.h>
#include <stdlib.h>

#include "support/http_client.h"

enum { READS = 10 };

typedef struct server_bench {
    bench_bytes raw, block;
    pra_handler *handler;
    pra_exchange *exchange;
    pra_server *server;
} server_bench;

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

/* Requests per second from several connections, and what one costs the server's threads. */
static void measure_load(const server_bench *b, const char *group)
{
    bench_load load = {
        .port = pra_server_port(b->server, 0), .body = b->block, .connections = 4, .seconds = 1};
    double server_us = -bench_process_us();
    bench_load_run(&load);
    server_us += bench_process_us() - load.client_us;
    bench_value(group, "requests, 4 connections, client included",
                (double)load.requests / load.seconds, "/s", -1);
    bench_value(group, "CPU of the server per request", server_us / (double)load.requests, "us",
                -1);
}

/* ---- reads */

/* CPU time of all threads, the client's too, for one read. */
static double read_us(struct http_client *client, bench_bytes asked)
{
    struct http_answer answer;
    double us = -bench_process_us();
    bench_require(http_post(client, "/api/v1/read", "Content-Type: application/x-protobuf\r\n",
                            asked.ptr, asked.len),
                  "send");
    http_read(client, &answer, 0);
    us += bench_process_us();
    bench_require(answer.status == 200 && answer.body_len > BENCH_SERIES * BENCH_SAMPLES / 2,
                  "answer");
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
        asked[type] = bench_read_request(type);
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
    const pra_storage storage = {&bench_storage_entries, NULL};
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
