/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file pra_server.h
 * libpra_server: a pra_handler behind an HTTP/1.1 server with threads of its own.
 *
 * Serves, beside what the handler answers (any path whose last segment is write, receive or read):
 * GET / (a page that says what runs here), GET /metrics, GET|HEAD /-/healthy, GET|HEAD /-/ready.
 */
#ifndef PRA_SERVER_H
#define PRA_SERVER_H

#include "pra.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct pra_server pra_server;

enum { PRA_LOG_DEBUG = 0, PRA_LOG_INFO = 1, PRA_LOG_WARN = 2, PRA_LOG_ERROR = 3 };

/** Where log lines go: fields is logfmt without time and level ("msg=\"…\" key=value"). Called from
 * any thread. */
typedef struct pra_log {
    void *ctx;
    void (*fn)(void *ctx, int32_t level, const char *fields_cstr);
} pra_log;

typedef struct pra_server_opts {
    size_t size;
    const char *const
        *listen_cstr; /**< "HOST:PORT" each, port 0 = any free one; NULL = one, "127.0.0.1:9201" */
    size_t listen_count;
    uint32_t max_connections; /**< default 512 */
    uint32_t workers; /**< requests in the handler at one time; default 8. Further ones wait for a
                         place */
    uint32_t idle_timeout_ms; /**< keep-alive; default 360,000: longer than a Go client's 5 minutes,
                                 so that it closes first */
    uint32_t
        header_timeout_ms; /**< from the first byte to the end of the headers; default 10,000 */
    uint32_t
        body_timeout_ms; /**< from the end of the headers to the end of the body; default 60,000 */
    uint32_t worker_wait_ms; /**< how long a request waits for a worker before it gets 503; default
                                30,000 */
    pra_log log;             /**< fn NULL = no log */
    const char *description_cstr; /**< what the page at / says about the storage; NULL = nothing */
} pra_server_opts;

PRA_API int pra_server_opts_init(pra_server_opts *opts, size_t size);

/** Binds and listens, does not yet answer. The handler is borrowed until pra_server_free. Returns
 * new (free with pra_server_free); PRA_ERR_IO if an address cannot be had. */
PRA_API int pra_server_new(const pra_alloc *alloc, pra_handler *handler,
                           const pra_server_opts *opts, pra_server **out, pra_error *err);
/** Starts the threads and returns. */
PRA_API int pra_server_start(pra_server *server, pra_error *err);
/** The port of listen address number index, as bound. 0 if there is none. */
PRA_API uint16_t pra_server_port(const pra_server *server, size_t index);
/** Stops: not ready, no new connections, 503 for new requests, waits up to grace_ms for those in
 * flight, then closes. From any thread but a server's own. Returns PRA_OK, or PRA_DONE if requests
 * were cut off. */
PRA_API int pra_server_stop(pra_server *server, uint32_t grace_ms);
/** Stops if need be; NULL is allowed. */
PRA_API void pra_server_free(pra_server *server);

/** An executor for pra_handler_opts: runs up to 8 queries of one request at a time on short-lived
 * threads. Static. */
PRA_API const pra_executor *pra_server_executor(void);

#ifdef __cplusplus
}
#endif
#endif /* PRA_SERVER_H */
