/* SPDX-License-Identifier: Apache-2.0
 *
 * What is shown: the constants, what explains a code, and the handles as classes. A language layer
 * keeps an exchange to one thread at a time.
 */
%{
typedef pra_str pra_bytes; /* a pra_str that is not text */
typedef struct pra_headers {
    const pra_header *items;
    size_t count;
} pra_headers;
#define Limits pra_limits /* SWIG says `struct Limits` */

/* A collector may free the script's objects in any order: exchanges and servers share a handler. */
typedef struct Handler {
    pra_handler *handler;
    atomic_size_t users;
} Handler;
typedef struct Exchange {
    pra_exchange *exchange;
    Handler *owner;
    atomic_int cancelled;
} Exchange;
typedef struct Server {
    pra_server *server;
    Handler *owner;
} Server;

/* What of pra_handler_opts is no limit; owns the texts. */
typedef struct Rules {
    uint32_t accepted_messages, response_types, canonical_flags;
    uint64_t read_delay_ms, read_max_age_ms;
    pra_arena *text;
    pra_buffer *external; /* pra_label */
    pra_buffer *ignored;  /* const char * */
} Rules;

static void rules_free(Rules *rules)
{
    if (rules) {
        pra_arena_free(rules->text);
        pra_buffer_free(rules->external);
        pra_buffer_free(rules->ignored);
        free(rules);
    }
}

/* A copy with a NUL behind it; ptr NULL: no memory. */
static pra_str rules_text(Rules *rules, pra_str text)
{
    char *copy = pra_arena_alloc(rules->text, text.len + 1, 1);
    if (copy) {
        memcpy(copy, text.len ? text.ptr : "", text.len);
        copy[text.len] = '\0';
    }
    return (pra_str){copy, text.len};
}

static int64_t wall_clock_ms(void *ctx)
{
    struct timespec now;
    (void)ctx;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void rules_apply(const Rules *rules, pra_handler_opts *opts)
{
    opts->accepted_messages = rules->accepted_messages;
    opts->response_types = rules->response_types;
    opts->canonical_flags = rules->canonical_flags;
    opts->read_delay_ms = rules->read_delay_ms;
    opts->read_max_age_ms = rules->read_max_age_ms;
    opts->clock = (pra_clock){NULL, wall_clock_ms};
    opts->external_labels = pra_buffer_data(rules->external);
    opts->external_label_count = pra_buffer_len(rules->external) / sizeof(pra_label);
    opts->ignored_matchers_cstr = pra_buffer_data(rules->ignored);
    opts->ignored_matcher_count = pra_buffer_len(rules->ignored) / sizeof(char *);
}

static Handler *handler_use(Handler *handler)
{
    atomic_fetch_add(&handler->users, 1);
    return handler;
}

static void handler_drop(Handler *handler)
{
    if (atomic_fetch_sub(&handler->users, 1) == 1) {
        pra_handler_free(handler->handler);
        free(handler);
    }
}

static int exchange_cancelled(void *host)
{
    return atomic_load(&((Exchange *)host)->cancelled);
}

static pra_header header_at(const Exchange *x, size_t index)
{
    const pra_header *headers;
    size_t count = pra_exchange_headers(x->exchange, &headers);
    return index < count ? headers[index] : (pra_header){{NULL, 0}, {NULL, 0}};
}
%}

%rename("$ignore") "";
%rename("%(strip:[PRA_])s", %$isenumitem) "";
%rename(version) pra_version_cstr;
%rename(strerror) pra_strerror;
%rename(error_name) pra_error_name;
%rename(http_status) pra_http_status;
#define PRA_CDEF /* declarations without attributes */
%include "pra.h"
%include "pra_server.h"
%rename("%s") "";

%nodefaultctor;
%nodefaultdtor;

/* What one request may cost; fields as in pra.h, 0 = default. */
typedef struct Limits {
    uint64_t max_body_bytes, max_decoded_bytes, max_memory_bytes;
    uint64_t max_labels_per_series, max_label_name_bytes, max_label_value_bytes;
    uint64_t max_queries, max_matchers, max_pattern_bytes, max_pattern_memory;
    uint64_t max_read_samples, max_response_bytes, retain_bytes;
    uint64_t max_frame_bytes, max_frame_read_bytes;
} Limits;
%extend Limits {
    Limits()
    {
        pra_limits *limits = calloc(1, sizeof *limits);
        if (limits) {
            (void)pra_limits_init(limits, sizeof *limits);
        }
        return limits;
    }
    ~Limits() { free($self); }
}

/* The rules of a handler that are not limits: pra_handler_opts of pra.h, 0 = default. */
typedef struct Rules {
    uint32_t accepted_messages, response_types, canonical_flags;
    uint64_t read_delay_ms, read_max_age_ms;
} Rules;
%extend Rules {
    Rules(pra_error *err)
    {
        Rules *rules = calloc(1, sizeof *rules);
        int code = rules ? pra_arena_new(NULL, 0, &rules->text) : PRA_ERR_NOMEM;
        if (code == PRA_OK) {
            code = pra_buffer_new(NULL, &rules->external);
        }
        if (code == PRA_OK) {
            code = pra_buffer_new(NULL, &rules->ignored);
        }
        if (checked(code, err) < 0) {
            rules_free(rules);
            return NULL;
        }
        return rules;
    }
    ~Rules() { rules_free($self); }
    void add_external_label(pra_str name, pra_str value, pra_error *err)
    {
        const pra_label label = {rules_text($self, name), rules_text($self, value)};
        int code = label.name.ptr && label.value.ptr
                       ? pra_buffer_append($self->external, &label, sizeof label)
                       : PRA_ERR_NOMEM;
        (void)checked(code, err);
    }
    void ignore_matcher(pra_str name, pra_error *err)
    {
        const char *text = rules_text($self, name).ptr;
        (void)checked(text ? pra_buffer_append($self->ignored, &text, sizeof text) : PRA_ERR_NOMEM,
                      err);
    }
}

/* tenant_header NULL = default. parallel: queries of one read may run on several threads. */
typedef struct Handler {} Handler;
%extend Handler {
    Handler(const Limits *limits, const char *tenant_header, bool parallel, const Rules *rules,
            const pra_storage *storage, pra_error *err)
    {
        pra_handler_opts opts;
        Handler *handler = calloc(1, sizeof *handler);
        (void)pra_handler_opts_init(&opts, sizeof opts);
        opts.limits = limits;
        opts.tenant_header_cstr = tenant_header;
        if (rules) {
            rules_apply(rules, &opts);
        }
        if (parallel) {
            opts.executor = *pra_server_executor();
        }
#if defined(SWIGPYTHON)
        pra__py_storage_limit(storage, limits);
#endif
        if (!handler) {
            (void)checked(PRA_ERR_NOMEM, err);
            if (storage->vtbl->destroy) {
                storage->vtbl->destroy(storage->self);
            }
        } else if (checked(pra_handler_new(NULL, storage, &opts, &handler->handler, err), err)) {
            free(handler);
            handler = NULL;
        } else {
            (void)handler_use(handler);
        }
        return handler;
    }
    ~Handler() { handler_drop($self); }
}

/* One HTTP request and its answer, stepped or driven: pra_exchange_* of pra.h. */
typedef struct Exchange {} Exchange;
PRA_LONG_CALL(Exchange::feed);
PRA_LONG_CALL(Exchange::end_body);
PRA_LONG_CALL(Exchange::run);
PRA_LONG_CALL(Exchange::finish);
PRA_LONG_CALL(Exchange::body);
%extend Exchange {
    Exchange(Handler *handler, pra_error *err)
    {
        Exchange *x = calloc(1, sizeof *x);
        if (!x) {
            (void)checked(PRA_ERR_NOMEM, err);
        } else if (checked(pra_exchange_new(handler->handler, NULL, &x->exchange), err)) {
            free(x);
            x = NULL;
        } else {
            x->owner = handler_use(handler);
        }
        return x;
    }
    ~Exchange()
    {
        pra_exchange_free($self->exchange);
        handler_drop($self->owner);
        free($self);
    }
    int begin(pra_str method, pra_str target, pra_headers headers, pra_str remote_addr,
              pra_str user, int32_t endpoint, pra_error *err)
    {
        pra_request_head head = {
            .size = sizeof head, .method = method, .target = target, .headers = headers.items,
            .header_count = headers.count, .remote_addr = remote_addr, .user = user,
            .endpoint = endpoint, .host = $self, .cancelled = exchange_cancelled};
        atomic_store(&$self->cancelled, 0);
        return checked(pra_exchange_begin($self->exchange, &head), err);
    }
    int feed(const void *data, size_t len, pra_error *err)
    {
        return checked(pra_exchange_feed($self->exchange, data, len), err);
    }
    int end_body(pra_error *err) { return checked(pra_exchange_end($self->exchange), err); }
    int run(pra_error *err) { return checked(pra_exchange_run($self->exchange), err); }
    int step(void) { return pra_exchange_step($self->exchange); }
    /* http_status: 0 = the code's own. retry_after: seconds, 0 = none. */
    void finish(int code, int32_t http_status, pra_str message, uint32_t retry_after,
                pra_error *err)
    {
        pra_error outcome = {0};
        if (code != 0) {
            (void)pra_error_set(&outcome, code, message);
        }
        if (http_status != 0) {
            outcome.http_status = http_status;
        }
        outcome.retry_after_s = retry_after;
        (void)checked(pra_exchange_finish($self->exchange, code, &outcome), err);
    }
    int32_t status(void) { return pra_exchange_status($self->exchange); }
    size_t header_count(void)
    {
        const pra_header *headers;
        return pra_exchange_headers($self->exchange, &headers);
    }
    pra_str header_name(size_t index) { return header_at($self, index).name; }
    pra_str header_value(size_t index) { return header_at($self, index).value; }
    uint64_t body_length(void) { return pra_exchange_body_length($self->exchange); }
    /* The next piece of the answer; nothing at its end. */
    pra_bytes body(pra_error *err)
    {
        pra_bytes piece = {NULL, 0};
        const void *data = NULL;
        size_t len = 0;
        if (checked(pra_exchange_body($self->exchange, &data, &len), err) == PRA_OK) {
            piece = (pra_bytes){data ? data : "", len};
        }
        return piece;
    }
    int error_code(void) { return pra_exchange_error($self->exchange)->code; }
    const char *error_message(void) { return pra_exchange_error($self->exchange)->message; }
}

/* libpra_server: pra_server_* of pra_server.h. 0 and NULL mean the default. */
typedef struct Server {} Server;
PRA_LONG_CALL(Server::Server);
PRA_LONG_CALL(Server::~Server);
PRA_LONG_CALL(Server::start);
PRA_LONG_CALL(Server::stop);
%extend Server {
    Server(Handler *handler, const char *listen, uint32_t workers, uint32_t max_connections,
           const char *description, const char *web_config_file, const char *bearer_token_file,
           uint32_t max_concurrent_reads, pra_log log, pra_error *err)
    {
        pra_server_opts opts;
        Server *server = calloc(1, sizeof *server);
        (void)pra_server_opts_init(&opts, sizeof opts);
        if (listen) {
            opts.listen_cstr = &listen;
            opts.listen_count = 1;
        }
#if defined(SWIGLUA)
        /* A script may nest 200 calls in C: before 5.4 each of string.gsub has a buffer of 8 KiB. */
        opts.stack_bytes = UINT64_C(4) << 20;
#endif
        opts.workers = workers;
        opts.max_connections = max_connections;
        opts.description_cstr = description;
        opts.web_config_file_cstr = web_config_file;
        opts.bearer_token_file_cstr = bearer_token_file;
        opts.max_concurrent_reads = max_concurrent_reads;
        opts.log = log;
        if (!server) {
            (void)checked(PRA_ERR_NOMEM, err);
        } else if (checked(pra_server_new(NULL, handler->handler, &opts, &server->server, err),
                           err)) {
            free(server);
            server = NULL;
        } else {
            server->owner = handler_use(handler);
        }
        return server;
    }
    ~Server()
    {
        pra_server_free($self->server);
        handler_drop($self->owner);
        free($self);
    }
    void start(pra_error *err) { (void)checked(pra_server_start($self->server, err), err); }
    uint16_t port(void) { return pra_server_port($self->server, 0); }
    int is_tls(void) { return pra_server_is_tls($self->server); }
    /* 1 if requests were cut off, else 0. */
    int stop(uint32_t grace_ms, pra_error *err)
    {
        return checked(pra_server_stop($self->server, grace_ms), err);
    }
}
