/* SPDX-License-Identifier: Apache-2.0 */
/* What the Python benchmarks call through ctypes: inputs, the C side of what is compared, and the
 * client of the servers. One of each kind, for one thread; what fails ends the process. */
#include "serving.h"

#include <pra_server.h>
#include <stdlib.h>
#include <string.h>

#define SHOWN __attribute__((visibility("default")))

/* Returns the length of *out, which lives as long as the process. */
SHOWN size_t native_write_request(size_t series_count, int32_t version, char **out);
SHOWN size_t native_read_request(int32_t response_type, char **out);

/* Decoding alone, into a warm request. */
SHOWN void native_decode(const char *block, size_t len, int32_t version);
/* The same into a request of its own, which is freed. */
SHOWN void native_decode_new(const char *block, size_t len, int32_t version);
/* An exchange with the storage of serving.h; *out is its answer, valid until the next call. */
SHOWN int native_exchange(const char *target, const char *content_type, const char *body,
                          size_t len, const char **out, size_t *out_len);

/* Starts the server; returns its port. */
SHOWN uint16_t native_serve(void);
/* result: requests, seconds, CPU time of the client in us. */
SHOWN void native_load(uint16_t port, char *body, size_t len, unsigned connections, double seconds,
                       double result[3]);

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
