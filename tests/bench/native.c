/* SPDX-License-Identifier: Apache-2.0 */
#include "native.h"

#include "serving.h"

#include <pra_server.h>
#include <stdlib.h>
#include <string.h>

static pra_write_request *request;
static pra_handler *handler;
static pra_exchange *exchange;
static pra_buffer *answer;

static size_t kept(bench_bytes bytes, char **out)
{
    *out = bytes.ptr;
    return bytes.len;
}

static void decode(bench_bytes block, int32_t version)
{
    if (request == NULL)
        bench_require(pra_write_request_new(NULL, &request) == PRA_OK, "request");
    bench_require(pra_write_request_decode_snappy(request, version, block.ptr, block.len, NULL,
                                                  NULL) == PRA_OK,
                  "decode");
}

static bench_bytes in_version(bench_bytes block, int32_t version)
{
    pra_buffer *message;
    decode(block, PRA_WRITE_V1);
    bench_require(pra_buffer_new(NULL, &message) == PRA_OK &&
                      pra_write_request_encode(request, version, message, NULL) == PRA_OK,
                  "encode");
    free(block.ptr);
    block =
        bench_compress((bench_bytes){(char *)pra_buffer_data(message), pra_buffer_len(message)});
    pra_buffer_free(message);
    return block;
}

size_t native_write_request(size_t series_count, int32_t version, char **out)
{
    bench_bytes raw = bench_write_request(series_count);
    bench_bytes block = bench_compress(raw);
    free(raw.ptr);
    return kept(version == PRA_WRITE_V1 ? block : in_version(block, version), out);
}

size_t native_read_request(int32_t response_type, char **out)
{
    return kept(bench_read_request(response_type), out);
}

void native_decode(const char *block, size_t len, int32_t version)
{
    decode((bench_bytes){(char *)block, len}, version);
}

void native_decode_new(const char *block, size_t len, int32_t version)
{
    pra_write_request *warm = request;
    request = NULL;
    native_decode(block, len, version);
    pra_write_request_free(request);
    request = warm;
}

/* ---- relabelling: these rules are also in lua/bench_lua_nginx.py */

#define TEXT(literal) ((pra_str){literal, sizeof(literal) - 1})

static pra_relabel *rules(void)
{
    static const pra_str metric[] = {{"__name__", 8}}, instance[] = {{"instance", 8}};
    pra_relabel_rule list[4];
    pra_relabel *relabel;
    for (size_t i = 0; i < 4; i++)
        bench_require(pra_relabel_rule_init(&list[i], sizeof list[i]) == PRA_OK, "rule");
    list[0].action = PRA_RELABEL_DROP;
    list[0].source_labels = metric;
    list[0].source_label_count = 1;
    list[0].regex = TEXT("go_.*|node_scrape_.*");
    list[1].source_labels = instance;
    list[1].source_label_count = 1;
    list[1].regex = TEXT("([^:]+):\\d+");
    list[1].target_label = TEXT("host");
    list[2].target_label = TEXT("via");
    list[2].replacement = TEXT("nginx");
    list[3].action = PRA_RELABEL_LABELDROP;
    list[3].regex = TEXT("fstype|revision");
    bench_require(pra_relabel_new(NULL, list, 4, NULL, &relabel, NULL) == PRA_OK, "rules");
    return relabel;
}

size_t native_filter(const char *block, size_t len, int32_t version, const char **out)
{
    static pra_relabel *relabel;
    static pra_write_request *changed;
    static pra_buffer *message, *compressed;
    uint64_t dropped;
    if (relabel == NULL) {
        relabel = rules();
        bench_require(pra_write_request_new(NULL, &changed) == PRA_OK &&
                          pra_buffer_new(NULL, &message) == PRA_OK &&
                          pra_buffer_new(NULL, &compressed) == PRA_OK,
                      "memory");
    }
    decode((bench_bytes){(char *)block, len}, version);
    pra_write_request_reset(changed);
    pra_buffer_reset(message);
    pra_buffer_reset(compressed);
    bench_require(pra_write_request_relabel(request, relabel, changed, &dropped, NULL) == PRA_OK &&
                      pra_write_request_encode(changed, version, message, NULL) == PRA_OK &&
                      pra_snappy_compress(pra_buffer_data(message), pra_buffer_len(message),
                                          compressed, NULL) == PRA_OK,
                  "relabel and encode");
    *out = pra_buffer_data(compressed);
    return pra_buffer_len(compressed);
}

/* ---- exchanges and servers */

static void need_handler(void)
{
    const pra_storage storage = {&bench_storage_entries, NULL};
    if (handler == NULL)
        bench_require(pra_handler_new(NULL, &storage, NULL, &handler, NULL) == PRA_OK &&
                          pra_exchange_new(handler, NULL, &exchange) == PRA_OK &&
                          pra_buffer_new(NULL, &answer) == PRA_OK,
                      "handler");
}

int native_exchange(const char *target, const char *content_type, const char *body, size_t len,
                    const char **out, size_t *out_len)
{
    need_handler();
    const pra_header headers[] = {{{"Content-Type", 12}, {content_type, strlen(content_type)}}};
    const pra_request_head head = {.size = sizeof head,
                                   .method = {"POST", 4},
                                   .target = {target, strlen(target)},
                                   .headers = headers,
                                   .header_count = 1};
    const void *piece;
    size_t piece_len;
    bench_require(pra_exchange_begin(exchange, &head) == PRA_OK &&
                      pra_exchange_feed(exchange, body, len) == PRA_OK &&
                      pra_exchange_end(exchange) == PRA_OK && pra_exchange_run(exchange) == PRA_OK,
                  "exchange");
    pra_buffer_reset(answer);
    while (pra_exchange_body(exchange, &piece, &piece_len) == PRA_OK)
        bench_require(pra_buffer_append(answer, piece, piece_len) == PRA_OK, "append");
    *out = pra_buffer_data(answer);
    *out_len = pra_buffer_len(answer);
    return pra_exchange_status(exchange);
}

uint16_t native_serve(void)
{
    static const char *const any[] = {"127.0.0.1:0"};
    const pra_server_opts opts = {.size = sizeof opts, .listen_cstr = any, .listen_count = 1};
    pra_server *server;
    need_handler();
    bench_require(pra_server_new(NULL, handler, &opts, &server, NULL) == PRA_OK &&
                      pra_server_start(server, NULL) == PRA_OK,
                  "server");
    return pra_server_port(server, 0);
}

void native_load(uint16_t port, char *body, size_t len, unsigned connections, double seconds,
                 double result[3])
{
    bench_load load = {
        .port = port, .body = {body, len}, .connections = connections, .seconds = seconds};
    bench_load_run(&load);
    result[0] = (double)load.requests;
    result[1] = load.seconds;
    result[2] = load.client_us;
}
