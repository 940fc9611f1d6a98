/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "serving.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

#include "support/http_client.h"

/* ---- the storage */

static int look(void *self, const pra_context *ctx, const pra_write_request *request,
                pra_write_result *result, pra_error *err)
{
    (void)self, (void)ctx, (void)result, (void)err;
    pra_columns columns = {.size = sizeof columns};
    int rc = pra_write_request_columns(request, &columns);
    return rc ? rc : columns.series_count > 0 ? PRA_OK : PRA_ERR_REJECT;
}

static int list_all(void *self, const pra_context *ctx, const pra_query *query,
                    pra_series_list *list, pra_error *err)
{
    int rc = PRA_OK;
    (void)self, (void)ctx, (void)query;
    for (uint64_t id = 0; id < BENCH_SERIES && rc == PRA_OK; id++) {
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
    int64_t timestamps_ms[BENCH_SAMPLES];
    double values[BENCH_SAMPLES];
    (void)self, (void)ctx, (void)query, (void)from_ms;
    for (size_t i = 0; i < BENCH_SAMPLES; i++) {
        timestamps_ms[i] = 1700000000000 + (int64_t)i * 15000;
        values[i] = (double)(id * 1000 + i * (id % 13)) / 3;
    }
    return pra_series_sink_samples(sink, timestamps_ms, values, BENCH_SAMPLES, err);
}

const pra_storage_vtbl bench_storage_entries = {
    .size = sizeof bench_storage_entries, .write = look, .select = list_all, .fetch = give_all};

bench_bytes bench_read_request(int32_t response_type)
{
    pra_read_request *request = NULL;
    pra_buffer *message = NULL;
    bench_require(pra_read_request_new(NULL, &request) == PRA_OK &&
                      pra_buffer_new(NULL, &message) == PRA_OK &&
                      pra_read_request_add_query(request, 0, INT64_MAX) == PRA_OK &&
                      pra_read_request_add_accepted(request, response_type) == PRA_OK &&
                      pra_read_request_encode(request, message, NULL) == PRA_OK,
                  "read request");
    bench_bytes body =
        bench_compress((bench_bytes){(char *)pra_buffer_data(message), pra_buffer_len(message)});
    pra_buffer_free(message);
    pra_read_request_free(request);
    return body;
}

/* ---- who asks */

static double cpu_us(int who)
{
    struct rusage use;
    bench_require(getrusage(who, &use) == 0, "getrusage");
    return (double)(use.ru_utime.tv_sec + use.ru_stime.tv_sec) * 1e6 +
           (double)(use.ru_utime.tv_usec + use.ru_stime.tv_usec);
}

double bench_process_us(void)
{
    return cpu_us(RUSAGE_SELF);
}

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

typedef struct sender {
    pthread_t thread;
    const bench_load *load;
    double until_s;
    size_t requests;
    double cpu_us;
} sender;

static void roundtrip(const bench_load *load, struct http_client *client)
{
    struct http_answer answer;
    bench_require(http_post(client, "/api/v1/write", "Content-Type: application/x-protobuf\r\n",
                            load->body.ptr, load->body.len),
                  "send");
    http_read(client, &answer, 0);
    free(answer.body);
    bench_require(answer.status == 204, "answer");
}

static void *send_many(void *arg)
{
    sender *s = arg;
    struct http_client client;
    http_open(&client, s->load->port);
    do {
        roundtrip(s->load, &client);
        s->requests++;
    } while (now_s() < s->until_s);
    http_close(&client);
    s->cpu_us = cpu_us(RUSAGE_THREAD);
    return NULL;
}

void bench_load_run(bench_load *load)
{
    double start_s = now_s();
    sender *senders = calloc(load->connections, sizeof *senders);
    bench_require(senders != NULL, "out of memory");
    load->requests = 0;
    load->client_us = 0;
    for (unsigned i = 0; i < load->connections; i++) {
        senders[i].load = load;
        senders[i].until_s = start_s + load->seconds;
        bench_require(pthread_create(&senders[i].thread, NULL, send_many, &senders[i]) == 0,
                      "thread");
    }
    for (unsigned i = 0; i < load->connections; i++) {
        pthread_join(senders[i].thread, NULL);
        load->requests += senders[i].requests;
        load->client_us += senders[i].cpu_us;
    }
    load->seconds = now_s() - start_s;
    free(senders);
}
