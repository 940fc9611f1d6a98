/* SPDX-License-Identifier: Apache-2.0 */
/* From an outcome to status, headers and body [W-20] to [W-28], §4.2. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "remote/exchange.h"
#include "remote/http.h"

static void add_header(pra_exchange *x, const char *name_cstr, const char *value_cstr)
{
    x->headers[x->header_count++] = (pra_header){
        {name_cstr, strlen(name_cstr)},
        {value_cstr, strlen(value_cstr)},
    };
}

static void add_retry_after(pra_exchange *x)
{
    if (x->error.retry_after_s == 0 || (x->status != 429 && x->status < 500))
        return;
    (void)snprintf(x->retry_after, sizeof(x->retry_after), "%" PRIu32, x->error.retry_after_s);
    add_header(x, "Retry-After", x->retry_after);
}

/* Remote write 2.0, once it is settled that it is that: on success and on failure [W-25]; never for
 * 1.0, whose senders would trust them [W-26]. */
static void add_written(pra_exchange *x)
{
    static const char *const names[PRA__WRITTEN_KINDS] = {
        "X-Prometheus-Remote-Write-Samples-Written",
        "X-Prometheus-Remote-Write-Histograms-Written",
        "X-Prometheus-Remote-Write-Exemplars-Written",
    };
    if (x->endpoint != PRA_ENDPOINT_WRITE || x->version != PRA_WRITE_V2)
        return;
    for (size_t i = 0; i < PRA__WRITTEN_KINDS; i++) {
        (void)snprintf(x->written_text[i], sizeof(x->written_text[i]), "%llu",
                       (unsigned long long)x->written[i]);
        add_header(x, names[i], x->written_text[i]);
    }
}

static void add_error_headers(pra_exchange *x)
{
    add_header(x, "Content-Type", "text/plain; charset=utf-8");
    add_header(x, "X-Content-Type-Options", "nosniff");
    if (x->status == 405)
        add_header(x, "Allow", "POST");
    if (x->error.code == PRA_ERR_CONTENT_ENCODING)
        add_header(x, "Accept-Encoding", "snappy");
    add_retry_after(x);
}

static void set_status(pra_exchange *x, int32_t status)
{
    x->phase = PRA_STEP_RESPOND;
    x->status = status;
    add_written(x);
}

/* The exchange may lie idle from now on. */
static void stand(pra_exchange *x, int32_t status)
{
    set_status(x, status);
    pra__exchange_drop_request(x);
}

/* The body is what x->out holds already, or else the error's message. */
static void stand_error(pra_exchange *x)
{
    stand(x, x->error.http_status);
    if (x->out.len == 0)
        (void)pra_buffer_append(&x->out, x->error.message, strlen(x->error.message));
    if (x->out.len) /* without memory for a body there is a status at least */
        (void)pra_buffer_append(&x->out, "\n", 1);
    add_error_headers(x);
}

void pra__answer_error(pra_exchange *x)
{
    x->error.http_status = pra_http_status(x->error.code);
    pra_buffer_reset(&x->out);
    stand_error(x);
}

int pra__refuse(pra_exchange *x, int32_t code, const char *fmt, ...)
{
    char text[sizeof(x->error.message)];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    pra_error_set_cstr(&x->error, code, text);
    pra__answer_error(x);
    return PRA_DONE;
}

/* ── What a storage returned ── */

static int is_permanent(int32_t status)
{
    return status >= 400 && status < 500 && status != 429;
}

static int is_passing(int32_t status)
{
    return status == 429 || (status >= 500 && status < 600);
}

static int32_t status_of(int code, int32_t wanted)
{
    switch (code) {
    case PRA_ERR_REJECT:
        return is_permanent(wanted) ? wanted : 400;
    case PRA_ERR_RETRY:
        return is_passing(wanted) ? wanted : 503;
    case PRA_ERR_NOT_SUPPORTED:
    case PRA_ERR_NOMEM:
    case PRA_ERR_IO:
    case PRA_ERR_CANCELLED:
    case PRA_ERR_SAMPLE_LIMIT:
    case PRA_ERR_RESPONSE_TOO_LARGE:
        return pra_http_status(code);
    default:
        return 500; /* what is wrong with the storage must not make a sender drop data */
    }
}

/* Makes x->error of a storage's failure. A code that is no grade counts as PRA_ERR_CALLBACK. */
static void take_failure(pra_exchange *x, int code, const pra_error *err)
{
    int wishes = err && (err->code == code || err->code == 0); /* or the status alone was set */
    int32_t status = status_of(code, wishes ? err->http_status : 0);
    uint32_t retry_after_s = wishes ? err->retry_after_s : 0;
    if (err && err != &x->error)
        x->error = *err;
    else if (!err)
        x->error = (pra_error){0};
    if (status == 500 && code != PRA_ERR_USER) {
        if (x->error.message[0] == 0)
            (void)snprintf(x->error.message, sizeof(x->error.message),
                           "the storage failed with code %d (%s)", code, pra_strerror(code));
        code = PRA_ERR_CALLBACK;
    }
    if (x->error.message[0] == 0)
        (void)snprintf(x->error.message, sizeof(x->error.message), "%s", pra_strerror(code));
    x->error.message[sizeof(x->error.message) - 1] = 0;
    pra_error_set_cstr(&x->error, code, x->error.message);
    x->error.retry_after_s = retry_after_s;
    x->error.http_status = status;
}

static void answer_storage_failure(pra_exchange *x, int code, const pra_error *err)
{
    take_failure(x, code, err);
    pra_buffer_reset(&x->out);
    stand_error(x);
}

static void answer_partly_written(pra_exchange *x)
{
    pra_buffer_reset(&x->out);
    if (pra__write_result_text(&x->result, &x->out))
        pra_buffer_reset(&x->out);
    size_t len = x->out.len < sizeof(x->error.message) ? x->out.len : sizeof(x->error.message) - 1;
    pra_error_set(&x->error, PRA_ERR_REJECT, (pra_str){(const char *)x->out.data, len});
    stand_error(x);
}

/* What was received and not refused. A storage that counts what it refuses twice has not written
 * less than nothing. */
static void count_written(pra_exchange *x)
{
    const uint64_t received[PRA__WRITTEN_KINDS] = {x->stats.samples, x->stats.histograms,
                                                   x->stats.exemplars};
    for (size_t i = 0; i < PRA__WRITTEN_KINDS; i++) {
        uint64_t refused = x->result.rejected[i];
        x->written[i] = refused < received[i] ? received[i] - refused : 0;
    }
}

void pra__answer_write(pra_exchange *x, int code, const pra_error *err)
{
    if (code != PRA_OK) {
        answer_storage_failure(x, code, err);
        return;
    }
    count_written(x);
    x->error = (pra_error){0};
    if (pra__write_result_any(&x->result)) {
        answer_partly_written(x);
        return;
    }
    stand(x, 204);
}

/* ── Reads ── */

/* A sink that refused something the storage went on without: the answer would not be whole. */
static int sink_failure(pra_exchange *x)
{
    for (size_t i = 0; i < x->sink_count; i++) {
        int rc = pra__series_sink_failure(x->sinks[i], &x->error);
        if (rc)
            return rc;
        x->stats.series += pra_series_sink_series_count(x->sinks[i]);
        x->stats.samples += pra_series_sink_sample_count(x->sinks[i]);
        x->stats.histograms += x->sinks[i]->histogram_count;
    }
    return PRA_OK;
}

static int encode_samples(pra_exchange *x)
{
    pra_buffer_reset(&x->out);
    pra_buffer_reset(&x->plain);
    int rc = pra_read_response_encode((const pra_series_sink *const *)x->sinks, x->sink_count,
                                      &x->plain, &x->error);
    if (rc == PRA_OK)
        rc = pra_snappy_compress(x->plain.data, x->plain.len, &x->out, &x->error);
    return rc;
}

static void stand_sampled(pra_exchange *x)
{
    x->stats.decoded_bytes = x->plain.len;
    stand(x, 200);
    add_header(x, "Content-Type", "application/x-protobuf");
    add_header(x, "Content-Encoding", "snappy");
}

/* The request is needed until the end of the body. */
static void stand_streamed(pra_exchange *x)
{
    set_status(x, 200);
    add_header(x, "Content-Type",
               "application/x-streamed-protobuf; proto=prometheus.ChunkedReadResponse"); /* */
    if (x->stream.over)
        pra__exchange_drop_request(x);
}

void pra__answer_read(pra_exchange *x, int code, const pra_error *err)
{
    const int streamed = x->version == PRA_RESPONSE_STREAMED_XOR_CHUNKS;
    if (code == PRA_OK) {
        x->error = (pra_error){0};
        if (!x->stream.pulled)
            code = sink_failure(x);
        if (code == PRA_OK)
            code = streamed ? pra__stream_begin(x, &x->error) : encode_samples(x);
        err = &x->error;
    }
    if (code != PRA_OK)
        answer_storage_failure(x, code, err);
    else if (streamed)
        stand_streamed(x);
    else
        stand_sampled(x);
}

/* ── Giving it out ── */

int32_t pra_exchange_status(const pra_exchange *x)
{
    return x->status;
}

size_t pra_exchange_headers(const pra_exchange *x, const pra_header **out)
{
    *out = x->headers;
    return x->header_count;
}

uint64_t pra_exchange_body_length(const pra_exchange *x)
{
    if (x->phase != PRA_STEP_RESPOND)
        return 0;
    return x->stream.on ? UINT64_MAX : x->out.len;
}

/* At the end of a streamed body, or where it breaks off, the request has been kept long enough. */
static int stream_body(pra_exchange *x, const void **data, size_t *len)
{
    struct pra__stream *s = &x->stream;
    if (s->over)
        return s->failed ? s->failed : PRA_DONE;
    int rc = pra__stream_next(x, &x->error);
    if (rc == PRA_OK) {
        x->stats.response_bytes += s->piece.len;
        x->stats.decoded_bytes += s->piece.len;
        *data = s->piece.ptr;
        *len = s->piece.len;
        return PRA_OK;
    }
    if (rc < 0)
        take_failure(x, rc, &x->error);
    pra__exchange_drop_request(x);
    pra__exchange_drop_body(x);
    return rc;
}

int pra_exchange_body(pra_exchange *x, const void **data, size_t *len)
{
    if (!x || !data || !len)
        return PRA_ERR_INVALID_ARG;
    if (x->busy)
        return PRA_ERR_BUSY;
    if (x->phase != PRA_STEP_RESPOND)
        return PRA_ERR_STATE;
    if (x->stream.on)
        return stream_body(x, data, len);
    if (x->body_given || x->out.len == 0)
        return PRA_DONE;
    x->body_given = 1;
    *data = x->out.data;
    *len = x->out.len;
    return PRA_OK;
}

const pra_error *pra_exchange_error(const pra_exchange *x)
{
    return &x->error;
}
