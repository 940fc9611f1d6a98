/* SPDX-License-Identifier: Apache-2.0 */
/* The life of a request: begin, feed, end, then the storage (driven or stepped). */
#include "remote/exchange.h"

#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/limits.h"
#include "base/str.h"
#include "message/write_request.h"
#include "remote/http.h"
#include "remote/read_scope.h"

int pra_exchange_new(pra_handler *handler, const pra_alloc *alloc, pra_exchange **out)
{
    if (!handler || !out)
        return PRA_ERR_INVALID_ARG;
    const pra_alloc *a = alloc ? alloc : &handler->alloc;
    pra_exchange *x = pra__calloc(a, sizeof(*x));
    if (!x)
        return PRA_ERR_NOMEM;
    x->alloc = *a;
    x->handler = handler;
    pra__arena_init(&x->arena, a, 0);
    pra__buffer_init(&x->body, a);
    pra__buffer_init(&x->out, a);
    pra__buffer_init(&x->plain, a);
    pra__stream_init(&x->stream, a);
    *out = x;
    return PRA_OK;
}

void pra__query_over(pra_exchange *x, size_t index)
{
    const pra_handler *h = x->handler;
    void **place = pra_query_state(pra_read_request_query(x->read, index));
    void *state = *place;
    *place = NULL;
    if (state && h->vtbl.release)
        h->vtbl.release(h->self, state);
}

void pra__queries_over(pra_exchange *x)
{
    size_t count = x->read ? pra_read_request_query_count(x->read) : 0;
    const int busy = x->busy;
    x->busy = 1;
    for (size_t i = 0; i < count; i++)
        pra__query_over(x, i);
    x->busy = busy;
}

void pra_exchange_free(pra_exchange *x)
{
    if (!x)
        return;
    pra_alloc alloc = x->alloc;
    pra__queries_over(x);
    pra__stream_fini(&x->stream);
    pra__sinks_free(x);
    pra_write_request_free(x->write);
    pra_read_request_free(x->read);
    pra__arena_fini(&x->arena);
    pra__buffer_fini(&x->body);
    pra__buffer_fini(&x->out);
    pra__buffer_fini(&x->plain);
    pra__free(&alloc, x, sizeof(*x));
}

static size_t retained(const pra_exchange *x)
{
    uint64_t bytes = x->handler->limits.retain_bytes;
    return bytes < SIZE_MAX ? (size_t)bytes : SIZE_MAX;
}

/* One that the storage shares is left to it. */
static void drop_write(pra_exchange *x)
{
    if (x->write && pra__write_request_is_shared(x->write)) {
        pra_write_request_free(x->write);
        x->write = NULL;
    }
    pra_write_request_reset(x->write);
}

void pra__exchange_drop_request(pra_exchange *x)
{
    drop_write(x);
    pra__queries_over(x);
    if (x->read)
        pra_read_request_reset(x->read);
    pra__sinks_trim(x, retained(x));
    pra__buffer_trim(&x->body, retained(x));
    pra__buffer_trim(&x->plain, retained(x));
    pra__series_list_trim(&x->stream.list, retained(x));
}

void pra__exchange_drop_body(pra_exchange *x)
{
    pra__buffer_trim(&x->out, retained(x));
}

static void forget_last(pra_exchange *x)
{
    pra__exchange_drop_request(x);
    pra__arena_trim(&x->arena, retained(x));
    pra__exchange_drop_body(x);
    pra__stream_reset(&x->stream, retained(x));
    memset(&x->error, 0, sizeof(x->error));
    x->stats = (pra_exchange_stats){.size = sizeof(x->stats)};
    x->status = 0;
    x->header_count = 0;
    memset(x->written, 0, sizeof(x->written));
    x->body_given = 0;
    x->version = -1;
    x->content_length = UINT64_MAX;
    pra__write_result_init(&x->result, NULL);
}

/* ── The head ── */

/* The rules of both endpoints that need no body, in the order of [W-01] [W-02] [W-03] [W-08]. */
static int check_head(pra_exchange *x, int32_t endpoint)
{
    pra_str value;
    x->endpoint = endpoint ? endpoint : pra__endpoint_of(x->context.path);
    if (x->endpoint == PRA_ENDPOINT_AUTO)
        return pra__refuse(x, PRA_ERR_PATH,
                           "no such path; remote write is at /api/v1/write, remote read at "
                           "/api/v1/read");
    if (!(x->context.method.len == 4 && memcmp(x->context.method.ptr, "POST", 4) == 0))
        return pra__refuse(x, PRA_ERR_METHOD, "this endpoint takes POST only");
    if (pra__context_header_count(&x->context, "Content-Encoding", &value) > 1 ||
        (value.len && !pra__str_is(value, "snappy")))
        return pra__refuse(x, PRA_ERR_CONTENT_ENCODING,
                           "Content-Encoding must be snappy (block format)");
    return PRA_OK;
}

static int check_write_head(pra_exchange *x)
{
    pra_str value;
    if (pra__context_header_count(&x->context, "Content-Type", &value) > 1)
        return pra__refuse(x, PRA_ERR_CONTENT_TYPE, "more than one Content-Type header");
    int32_t version = pra__content_type_version(value);
    if (version > 0 && x->handler->accepted_messages & 1u << version) {
        x->version = version;
        return PRA_OK;
    }
    switch (version) {
    case PRA_WRITE_V1:
        return pra__refuse(x, PRA_ERR_CONTENT_TYPE,
                           "remote write 1.0 is not served here: set protobuf_message to "
                           "io.prometheus.write.v2.Request");
    case PRA_WRITE_V2:
        return pra__refuse(x, PRA_ERR_CONTENT_TYPE,
                           "remote write 2.0 is not served here: set protobuf_message to "
                           "prometheus.WriteRequest");
    default:
        return pra__refuse(x, PRA_ERR_CONTENT_TYPE,
                           "Content-Type must be application/x-protobuf, with "
                           "proto=prometheus.WriteRequest or "
                           "proto=io.prometheus.write.v2.Request if any");
    }
}

static int too_large(pra_exchange *x)
{
    return pra__refuse(x, PRA_ERR_BODY_TOO_LARGE,
                       "request body is larger than the limit of %llu bytes; send smaller "
                       "batches or raise max_body_bytes (--limit.body-size)",
                       (unsigned long long)x->handler->limits.max_body_bytes);
}

static int check_length(pra_exchange *x)
{
    pra_str value;
    size_t count = pra__context_header_count(&x->context, "Content-Length", &value);
    if (count == 0)
        return PRA_OK;
    if (count > 1 || !pra__parse_u64(value, &x->content_length))
        return pra__refuse(x, PRA_ERR_BODY_INCOMPLETE, "Content-Length is not one number");
    return x->content_length > x->handler->limits.max_body_bytes ? too_large(x) : PRA_OK;
}

int pra_exchange_begin(pra_exchange *x, const pra_request_head *head)
{
    pra_request_head full;
    if (!x || !head)
        return PRA_ERR_INVALID_ARG;
    if (x->busy)
        return PRA_ERR_BUSY;
    int rc = pra__opts_copy(&full, sizeof(full), head, head->size);
    if (rc)
        return rc;
    forget_last(x);
    x->phase = PRA__BODY;
    pra_str tenant = {x->handler->tenant_header, strlen(x->handler->tenant_header)};
    x->endpoint = PRA_ENDPOINT_AUTO;
    rc = pra__context_init(&x->context, &x->arena, &full, tenant, x->handler->max_head_bytes);
    if (rc == PRA_ERR_HEAD_TOO_LARGE)
        return pra__refuse(x, rc,
                           "request line and headers are larger than the limit of %llu bytes "
                           "(max_head_bytes)",
                           (unsigned long long)x->handler->max_head_bytes);
    if (rc)
        return pra__refuse(x, rc, "out of memory");
    if (!pra__utf8_valid(x->context.tenant)) /* scripts and databases could not take it */
        return pra__refuse(x, PRA_ERR_REJECT, "%s is not UTF-8", x->handler->tenant_header);
    rc = check_head(x, full.endpoint);
    if (rc == PRA_OK && x->endpoint == PRA_ENDPOINT_WRITE)
        rc = check_write_head(x);
    return rc ? rc : check_length(x);
}

void pra_exchange_reset(pra_exchange *x)
{
    if (!x || x->busy)
        return;
    forget_last(x);
    x->phase = PRA__IDLE;
    x->endpoint = PRA_ENDPOINT_AUTO;
    x->context = (pra_context){.worker = 0};
}

/* ── The body ── */

int pra_exchange_feed(pra_exchange *x, const void *data, size_t len)
{
    if (!x || (!data && len))
        return PRA_ERR_INVALID_ARG;
    if (x->busy)
        return PRA_ERR_BUSY;
    if (x->phase == PRA_STEP_RESPOND)
        return PRA_DONE;
    if (x->phase != PRA__BODY)
        return PRA_ERR_STATE;
    if (len > x->handler->limits.max_body_bytes - x->body.len)
        return too_large(x);
    if (pra_buffer_append(&x->body, data, len))
        return pra__refuse(x, PRA_ERR_NOMEM, "out of memory for a body of %zu bytes",
                           x->body.len + len);
    return PRA_OK;
}

static int decode_write(pra_exchange *x)
{
    pra_columns columns = {.size = sizeof(columns)};
    if (!x->write && pra_write_request_new(&x->alloc, &x->write))
        return pra__nomem(&x->error);
    int rc = pra_write_request_decode_snappy(x->write, x->version, x->body.data, x->body.len,
                                             &x->handler->limits, &x->error);
    if (rc)
        return rc;
    pra_write_request_columns(x->write, &columns);
    x->stats.decoded_bytes = columns.base_len;
    x->stats.series = columns.series_count;
    x->stats.samples = columns.sample_count;
    x->stats.histograms = columns.histogram_count;
    x->stats.exemplars = columns.exemplar_count;
    x->stats.metadata = columns.metadata_count;
    const int keeps_exemplars = (x->handler->vtbl.flags & PRA_STORAGE_EXEMPLARS) != 0;
    pra__write_result_init(&x->result, x->write);
    x->result.ignores_exemplars = !keeps_exemplars && x->version == PRA_WRITE_V1;
    (void)pra_write_request_canonicalize(x->write, x->handler->canonical_flags,
                                         pra__write_result_reject_canonical, &x->result);
    if (!(x->handler->vtbl.flags & PRA_STORAGE_HISTOGRAMS))
        pra__write_result_reject_histograms(&x->result);
    if (!keeps_exemplars && x->version == PRA_WRITE_V2)
        pra__write_result_reject_exemplars(&x->result);
    x->phase = PRA_STEP_WRITE;
    return PRA_OK;
}

/* The first listed type that is served; an empty list means SAMPLES. */
static int choose_response_type(pra_exchange *x)
{
    static const int32_t samples = PRA_RESPONSE_SAMPLES;
    const uint32_t served = x->handler->response_types;
    const int32_t *types;
    size_t count = pra_read_request_accepted(x->read, &types);
    if (count == 0) {
        types = &samples;
        count = 1;
    }
    for (size_t i = 0; i < count; i++)
        if (types[i] >= 0 && types[i] <= PRA_RESPONSE_STREAMED_XOR_CHUNKS &&
            served & 1u << types[i])
            return x->version = types[i], PRA_OK;
    return pra_error_set_cstr(&x->error, PRA_ERR_RESPONSE_TYPE,
                              "none of accepted_response_types is served here");
}

static int decode_read(pra_exchange *x)
{
    if (!x->read && pra_read_request_new(&x->alloc, &x->read))
        return pra__nomem(&x->error);
    int rc = pra_read_request_decode_snappy(x->read, x->body.data, x->body.len, &x->handler->limits,
                                            &x->error);
    if (rc)
        return rc;
    x->stats.queries = pra_read_request_query_count(x->read);
    pra__read_scope_apply(x->handler, x->read);
    if ((rc = choose_response_type(x)) != PRA_OK ||
        (rc = pra_read_request_compile(x->read, &x->handler->limits, &x->error)) != PRA_OK ||
        (rc = pra__sinks_prepare(x)) != PRA_OK)
        return rc;
    x->phase = PRA_STEP_READ;
    return PRA_OK;
}

int pra_exchange_end(pra_exchange *x)
{
    if (!x)
        return PRA_ERR_INVALID_ARG;
    if (x->busy)
        return PRA_ERR_BUSY;
    if (x->phase == PRA_STEP_RESPOND)
        return PRA_DONE;
    if (x->phase != PRA__BODY)
        return PRA_ERR_STATE;
    x->stats.body_bytes = x->body.len;
    if (x->content_length != UINT64_MAX && x->content_length != x->body.len)
        return pra__refuse(x, PRA_ERR_BODY_INCOMPLETE,
                           "received %zu bytes of a body announced with %llu", x->body.len,
                           (unsigned long long)x->content_length);
    int rc = x->endpoint == PRA_ENDPOINT_WRITE ? decode_write(x) : decode_read(x);
    if (rc == PRA_OK)
        return PRA_OK;
    pra__answer_error(x);
    return PRA_DONE;
}

/* ── The storage ── */

int pra_exchange_run(pra_exchange *x)
{
    if (!x)
        return PRA_ERR_INVALID_ARG;
    if (x->busy)
        return PRA_ERR_BUSY;
    if (x->phase != PRA_STEP_WRITE && x->phase != PRA_STEP_READ)
        return PRA_ERR_STATE;
    const pra_handler *h = x->handler;
    int rc;
    x->busy = 1;
    x->stream.pulled = x->phase == PRA_STEP_READ && x->version != PRA_RESPONSE_SAMPLES &&
                       (h->vtbl.select || pra__storage_is_ordered(h));
    if (x->stream.pulled)
        rc = PRA_OK; /* it is asked piece by piece */
    else if (x->phase == PRA_STEP_READ)
        rc = pra__sinks_fill(x);
    else if (h->vtbl.write)
        rc = h->vtbl.write(h->self, &x->context, x->write, &x->result, &x->error);
    else
        rc = pra_error_set_cstr(&x->error, PRA_ERR_NOT_SUPPORTED, "this storage takes no writes");
    x->busy = 0;
    (void)pra_exchange_finish(x, rc, &x->error);
    return x->error.code == PRA_ERR_USER ? PRA_ERR_USER : PRA_OK;
}

int pra_exchange_finish(pra_exchange *x, int code, const pra_error *err)
{
    if (!x)
        return PRA_ERR_INVALID_ARG;
    if (x->busy)
        return PRA_ERR_BUSY;
    if (x->phase == PRA_STEP_WRITE)
        pra__answer_write(x, code, err);
    else if (x->phase == PRA_STEP_READ)
        pra__answer_read(x, code, err);
    else
        return PRA_ERR_STATE;
    return PRA_OK;
}

/* ── What stepped hosts and logs look at ── */

int pra_exchange_step(const pra_exchange *x)
{
    return x->phase > 0 ? x->phase : PRA_ERR_STATE;
}

const pra_context *pra_exchange_context(const pra_exchange *x)
{
    return &x->context;
}

const pra_write_request *pra_exchange_write_request(const pra_exchange *x)
{
    return x->phase == PRA_STEP_WRITE ? x->write : NULL;
}

pra_write_result *pra_exchange_write_result(pra_exchange *x)
{
    return x->phase == PRA_STEP_WRITE ? &x->result : NULL;
}

const pra_read_request *pra_exchange_read_request(const pra_exchange *x)
{
    return x->phase == PRA_STEP_READ ? x->read : NULL;
}

pra_series_sink *pra_exchange_sink(pra_exchange *x, size_t index)
{
    return x->phase == PRA_STEP_READ && index < x->sink_count ? x->sinks[index] : NULL;
}

int pra_exchange_get_stats(const pra_exchange *x, pra_exchange_stats *out)
{
    if (!x || !out)
        return PRA_ERR_INVALID_ARG;
    pra_exchange_stats stats = x->stats;
    stats.endpoint = x->endpoint;
    stats.status = x->status;
    stats.code = x->error.code;
    stats.version = x->version;
    if (!x->stream.on)
        stats.response_bytes = x->out.len;
    stats.rejected_samples = x->result.rejected[PRA_DATUM_SAMPLE];
    stats.rejected_series = x->result.rejected_series;
    return pra__struct_out(out, &stats, sizeof(stats));
}
