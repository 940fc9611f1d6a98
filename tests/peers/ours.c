/* SPDX-License-Identifier: Apache-2.0 */
/* Our side of the differential test: answers questions of the Go side about bytes. Both directions
 * are messages of a little-endian 32-bit length and that many bytes; the first byte of a question
 * says what is asked. Decoded data is told in lines of text (dump.c). */
#include "dump.h"

#include <pra.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What is left of a question. */
struct input {
    const uint8_t *at;
    size_t len;
};

static pra_limits limits;
static pra_write_request *request;
static pra_read_request *read_request;
static pra_buffer *reply, *stored;

static void need(int code)
{
    if (code < 0) {
        (void)fprintf(stderr, "%s\n", pra_strerror(code));
        abort();
    }
}

static struct input take(struct input *in, size_t len)
{
    struct input part = {in->at, len};
    if (len > in->len)
        abort();
    in->at += len;
    in->len -= len;
    return part;
}

static uint8_t take_byte(struct input *in)
{
    return *take(in, 1).at;
}

static uint32_t get_u32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

/* A part with its length before it. */
static struct input take_part(struct input *in)
{
    return take(in, get_u32(take(in, 4).at));
}

static pra_str str_of(struct input part)
{
    pra_str s = {(const char *)part.at, part.len};
    return s;
}

/* The first line of an answer: what became of the call. */
static int outcome(int code, const pra_error *err)
{
    if (code < 0)
        print(reply, "error %s %s\n", pra_error_name(code), err->message);
    else
        print(reply, "ok\n");
    return code >= 0;
}

static const pra_columns *columns_of(const pra_write_request *req)
{
    static pra_columns columns;
    columns.size = sizeof(columns);
    need(pra_write_request_columns(req, &columns));
    return &columns;
}

static int decode(int32_t version, struct input in)
{
    pra_error err = {0};
    return outcome(pra_write_request_decode(request, version, in.at, in.len, &limits, &err), &err);
}

/* d: version, message */
static void ask_decode(struct input in)
{
    int32_t version = take_byte(&in);
    if (decode(version, in))
        dump_columns(reply, columns_of(request));
}

/* e: version, version to encode, message */
static void ask_encode(struct input in)
{
    int32_t from = take_byte(&in), to = take_byte(&in);
    pra_error err = {0};
    if (!decode(from, in))
        return;
    int rc = pra_write_request_encode(request, to, reply, &err);
    if (rc < 0) {
        pra_buffer_reset(reply);
        (void)outcome(rc, &err);
    }
}

/* q: read request, decoded and encoded again */
static void ask_read_request(struct input in)
{
    pra_error err = {0};
    int rc = pra_read_request_decode(read_request, in.at, in.len, &limits, &err);
    if (outcome(rc, &err))
        need(pra_read_request_encode(read_request, reply, &err));
}

/* h: a 2.0 message; a line per histogram says what is wrong with it */
static void ask_validate(struct input in)
{
    if (!decode(PRA_WRITE_V2, in))
        return;
    const pra_columns *columns = columns_of(request);
    for (size_t i = 0; i < columns->histogram_count; i++) {
        pra_error err = {0};
        int rc = pra_histogram_validate(columns, i, &err);
        print(reply, "%s\n", rc ? err.message : "valid");
    }
}

/* a: a sampled answer; what is in it */
static void ask_answer(struct input in)
{
    static pra_read_response *response;
    pra_columns columns = {.size = sizeof(columns)};
    pra_error err = {0};
    if (!response)
        need(pra_read_response_new(NULL, &response));
    if (!outcome(pra_read_response_decode(response, in.at, in.len, &limits, &err), &err))
        return;
    need(pra_read_response_columns(response, &columns));
    dump_columns(reply, &columns);
}

/* s: size of the pieces it comes in, a streamed answer; what is in it */
static void ask_stream(struct input in)
{
    static pra_stream_reader *reader;
    pra_columns columns = {.size = sizeof(columns)};
    pra_error err = {0};
    size_t size = take_byte(&in);
    if (!reader)
        need(pra_stream_reader_new(NULL, &limits, &reader));
    pra_stream_reader_reset(reader);
    print(reply, "ok\n");
    while (in.len) {
        struct input piece = take(&in, size < in.len ? size : in.len);
        need(pra_stream_reader_feed(reader, piece.at, piece.len));
        int rc;
        while ((rc = pra_stream_reader_next(reader, &err)) == PRA_OK) {
            need(pra_stream_reader_columns(reader, &columns));
            dump_columns(reply, &columns);
        }
        need(rc);
    }
    need(pra_stream_reader_finish(reader, &err));
}

/* ---- the handler */

static int keep(void *self, const pra_context *ctx, const pra_write_request *req,
                pra_write_result *result, pra_error *err)
{
    (void)self, (void)ctx, (void)result, (void)err;
    dump_columns(stored, columns_of(req));
    return PRA_OK;
}

static pra_exchange *exchange_new(const pra_storage_vtbl *vtbl, pra_handler **handler)
{
    pra_storage storage = {vtbl, NULL};
    pra_handler_opts opts;
    pra_exchange *x = NULL;
    need(pra_handler_opts_init(&opts, sizeof(opts)));
    opts.limits = &limits;
    need(pra_handler_new(NULL, &storage, &opts, handler, NULL));
    need(pra_exchange_new(*handler, NULL, &x));
    return x;
}

static void print_answer(pra_exchange *x)
{
    const pra_header *headers;
    size_t count = pra_exchange_headers(x, &headers);
    print(reply, "status %d\n", pra_exchange_status(x));
    for (size_t i = 0; i < count; i++)
        print(reply, "header %.*s %.*s\n", (int)headers[i].name.len, headers[i].name.ptr,
              (int)headers[i].value.len, headers[i].value.ptr);
    print(reply, "reason %s\n", pra_exchange_error(x)->message);
}

/* The answer to a POST of one body. */
static void post(pra_exchange *x, const pra_request_head *head, struct input body)
{
    int rc = pra_exchange_begin(x, head);
    if (rc == PRA_OK)
        rc = pra_exchange_feed(x, body.at, body.len);
    if (rc == PRA_OK)
        rc = pra_exchange_end(x);
    if (rc == PRA_OK)
        rc = pra_exchange_run(x);
    need(rc);
}

/* w: number of headers, names and values, method, body; the answer, and what reached the storage */
static void ask_write(struct input in)
{
    static const pra_storage_vtbl vtbl = {.size = sizeof(vtbl),
                                          .flags = PRA_STORAGE_HISTOGRAMS | PRA_STORAGE_EXEMPLARS,
                                          .write = keep};
    static pra_handler *handler;
    static pra_exchange *x;
    pra_header headers[16];
    pra_request_head head = {
        .size = sizeof(head), .headers = headers, .endpoint = PRA_ENDPOINT_WRITE};
    if (!x)
        x = exchange_new(&vtbl, &handler);
    head.header_count = take_byte(&in);
    for (size_t i = 0; i < head.header_count; i++) {
        headers[i].name = str_of(take_part(&in));
        headers[i].value = str_of(take_part(&in));
    }
    head.method = str_of(take_part(&in));
    head.target = (pra_str){"/api/v1/write", 13};
    pra_buffer_reset(stored);
    post(x, &head, in);
    print_answer(x);
    need(pra_buffer_append(reply, pra_buffer_data(stored), pra_buffer_len(stored)));
}

/* ---- reading what is in `request`, by a storage that pushes and by one that is asked */

static pra_series series_at(size_t index)
{
    pra_series s = {.size = sizeof(s)};
    need(pra_columns_series(columns_of(request), index, &s));
    return s;
}

/* The labels of a series, valid until the next call. */
static const pra_label *labels_of(const pra_series *s)
{
    static pra_label labels[64];
    if (s->label_count > 64)
        abort();
    for (size_t i = 0; i < s->label_count; i++) {
        labels[i].name = (pra_str){s->base + s->labels[i].name.off, s->labels[i].name.len};
        labels[i].value = (pra_str){s->base + s->labels[i].value.off, s->labels[i].value.len};
    }
    return labels;
}

/* Data of a series from a time on, in pieces of one. */
static int push_data(size_t index, int64_t from_ms, pra_series_sink *sink, pra_error *err)
{
    const pra_columns *columns = columns_of(request);
    pra_series s = series_at(index);
    size_t first = s.histogram_count ? (size_t)(s.histograms - columns->histograms) : 0, h = 0,
           i = 0;
    while (h < s.histogram_count && s.histograms[h].timestamp_ms < from_ms)
        h++;
    while (i < s.sample_count && s.timestamps_ms[i] < from_ms)
        i++;
    while (h < s.histogram_count || i < s.sample_count) {
        int float_next = i < s.sample_count && (h == s.histogram_count ||
                                                s.timestamps_ms[i] <= s.histograms[h].timestamp_ms);
        int rc = float_next
                     ? pra_series_sink_samples(sink, s.timestamps_ms + i, s.values + i, 1, err)
                     : pra_series_sink_histograms(sink, columns, first + h, 1, err);
        if (rc)
            return rc;
        float_next ? i++ : h++;
    }
    return PRA_OK;
}

static int list_series(void *self, const pra_context *ctx, const pra_query *query,
                       pra_series_list *list, pra_error *err)
{
    (void)self, (void)ctx;
    for (size_t i = 0; i < columns_of(request)->series_count; i++) {
        pra_series s = series_at(i);
        if (!pra_query_matches(query, labels_of(&s), s.label_count))
            continue;
        int rc = pra_series_list_add(list, labels_of(&s), s.label_count, i, err);
        if (rc)
            return rc;
    }
    return PRA_OK;
}

static int fetch_data(void *self, const pra_context *ctx, const pra_query *query, uint64_t id,
                      int64_t from_ms, pra_series_sink *sink, pra_error *err)
{
    (void)self, (void)ctx, (void)query;
    return push_data(id, from_ms, sink, err);
}

static int push_series(void *self, const pra_context *ctx, const pra_query *query,
                       pra_series_sink *sink, pra_error *err)
{
    (void)self, (void)ctx;
    for (size_t i = 0; i < columns_of(request)->series_count; i++) {
        pra_series s = series_at(i);
        if (!pra_query_matches(query, labels_of(&s), s.label_count))
            continue;
        int rc = pra_series_sink_begin(sink, labels_of(&s), s.label_count, err);
        if (!rc)
            rc = push_data(i, INT64_MIN, sink, err);
        if (!rc)
            rc = pra_series_sink_end(sink, err);
        if (rc)
            return rc;
    }
    return PRA_OK;
}

/* r: 0 pushed or 1 asked for, budget of a frame, a 2.0 message with the data, body of a read
 * request; the answer, an empty line, its body */
static void ask_read(struct input in)
{
    static const pra_storage_vtbl vtbls[] = {
        {.size = sizeof(vtbls[0]), .process_query = push_series},
        {.size = sizeof(vtbls[0]), .select = list_series, .fetch = fetch_data}};
    pra_request_head head = {.size = sizeof(head), .endpoint = PRA_ENDPOINT_READ};
    pra_handler *handler;
    pra_exchange *x;
    const void *piece;
    size_t len;
    int rc;
    const pra_storage_vtbl *vtbl = &vtbls[take_byte(&in)];
    limits.max_frame_bytes = get_u32(take(&in, 4).at);
    x = exchange_new(vtbl, &handler);
    struct input data = take_part(&in);
    need(pra_write_request_decode(request, PRA_WRITE_V2, data.at, data.len, &limits, NULL));
    head.method = (pra_str){"POST", 4};
    head.target = (pra_str){"/api/v1/read", 12};
    post(x, &head, in);
    print_answer(x);
    print(reply, "\n");
    while ((rc = pra_exchange_body(x, &piece, &len)) == PRA_OK)
        need(pra_buffer_append(reply, piece, len));
    need(rc);
    pra_exchange_free(x);
    pra_handler_free(handler);
}

/* ---- relabelling */

static uint64_t get_u64(struct input *in)
{
    const uint64_t low = get_u32(take(in, 4).at);
    return low | (uint64_t)get_u32(take(in, 4).at) << 32;
}

/* Action, number of source labels, these, separator, regex, target, replacement, modulus. */
static void take_rule(struct input *in, pra_relabel_rule *rule, pra_str *sources)
{
    need(pra_relabel_rule_init(rule, sizeof(*rule)));
    rule->action = pra_relabel_action(str_of(take_part(in)));
    rule->source_labels = sources;
    rule->source_label_count = take_byte(in);
    for (size_t i = 0; i < rule->source_label_count; i++)
        sources[i] = str_of(take_part(in));
    rule->separator = str_of(take_part(in));
    rule->regex = str_of(take_part(in));
    rule->target_label = str_of(take_part(in));
    rule->replacement = str_of(take_part(in));
    rule->modulus = get_u64(in);
}

static void print_hex(pra_str s)
{
    for (size_t i = 0; i < s.len; i++)
        print(reply, "%02x", (unsigned char)s.ptr[i]);
}

static int same_label(const pra_columns *c, const pra_label_span *span, const pra_label *label)
{
    return span->name.len == label->name.len && span->value.len == label->value.len &&
           memcmp(c->base + span->name.off, label->name.ptr, label->name.len) == 0 &&
           memcmp(c->base + span->value.off, label->value.ptr, label->value.len) == 0;
}

/* Series with these labels, relabelled in a request, become the same; most findings about the
 * second are remembered from the first. */
static void relabel_twice(const pra_relabel *relabel, const pra_label *labels, size_t count,
                          const pra_label *left, size_t left_count, int dropped)
{
    pra_write_request *in = NULL, *out = NULL;
    pra_columns c = {.size = sizeof(c)};
    uint64_t gone;
    int named = 0;
    for (size_t i = 0; i < left_count; i++)
        named |= left[i].name.len == 8 && memcmp(left[i].name.ptr, "__name__", 8) == 0;
    need(pra_write_request_new(NULL, &in));
    need(pra_write_request_new(NULL, &out));
    for (int i = 0; i < 2; i++)
        need(pra_write_request_add_series(in, labels, count));
    need(pra_write_request_relabel(in, relabel, out, &gone, NULL));
    need(pra_write_request_columns(out, &c));
    if (gone != (named && !dropped ? 0 : 2) || c.series_count != 2 - gone ||
        c.label_count != c.series_count * left_count)
        abort();
    for (size_t i = 0; i < c.label_count; i++)
        if (!same_label(&c, &c.labels[i], &left[i % left_count]))
            abort();
    pra_write_request_free(in);
    pra_write_request_free(out);
}

/* l: number of rules, these, number of labels, names and values; "dropped", or a line per label */
static void ask_relabel(struct input in)
{
    pra_relabel_rule rules[8];
    pra_str sources[8][8];
    pra_label labels[32];
    const pra_label *left = NULL;
    size_t left_count = 0, count = take_byte(&in);
    pra_relabel *relabel = NULL;
    pra_arena *arena = NULL;
    pra_error err = {0};
    for (size_t i = 0; i < count; i++)
        take_rule(&in, &rules[i], sources[i]);
    if (!outcome(pra_relabel_new(NULL, rules, count, NULL, &relabel, &err), &err))
        return;
    count = take_byte(&in);
    for (size_t i = 0; i < count; i++) {
        labels[i].name = str_of(take_part(&in));
        labels[i].value = str_of(take_part(&in));
    }
    need(pra_arena_new(NULL, 0, &arena));
    int rc = pra_relabel_labels(relabel, labels, count, arena, &left, &left_count, &err);
    need(rc);
    relabel_twice(relabel, labels, count, left, left_count, rc == PRA_DONE);
    if (rc == PRA_DONE)
        print(reply, "dropped\n");
    for (size_t i = 0; i < left_count; i++) {
        print_hex(left[i].name);
        print(reply, " ");
        print_hex(left[i].value);
        print(reply, "\n");
    }
    pra_arena_free(arena);
    pra_relabel_free(relabel);
}

/* ---- questions */

static int read_exactly(void *to, size_t len)
{
    return fread(to, 1, len, stdin) == len;
}

/* The next question, kept until the one after it; 0 at the end. */
static int next(struct input *in)
{
    static uint8_t *data;
    uint8_t head[4];
    if (!read_exactly(head, 4))
        return 0;
    free(data);
    in->len = get_u32(head);
    in->at = data = malloc(in->len + 1); /* of exact size, so that reading past it is noticed */
    if (!data || !read_exactly(data, in->len))
        abort();
    return 1;
}

static void send_reply(void)
{
    size_t len = pra_buffer_len(reply);
    uint8_t head[4] = {(uint8_t)len, (uint8_t)(len >> 8), (uint8_t)(len >> 16),
                       (uint8_t)(len >> 24)};
    if (fwrite(head, 1, 4, stdout) != 4 || fwrite(pra_buffer_data(reply), 1, len, stdout) != len ||
        fflush(stdout))
        abort();
}

static void answer(struct input in)
{
    static const struct {
        char what;
        void (*ask)(struct input in);
    } questions[] = {{'d', ask_decode},   {'e', ask_encode}, {'q', ask_read_request},
                     {'h', ask_validate}, {'a', ask_answer}, {'s', ask_stream},
                     {'w', ask_write},    {'r', ask_read},   {'l', ask_relabel}};
    char what = (char)take_byte(&in);
    for (size_t i = 0; i < sizeof(questions) / sizeof(questions[0]); i++)
        if (questions[i].what == what) {
            questions[i].ask(in);
            return;
        }
    abort();
}

int main(void)
{
    struct input in;
    need(pra_limits_init(&limits, sizeof(limits)));
    limits.max_labels_per_series = UINT32_MAX;
    need(pra_write_request_new(NULL, &request));
    need(pra_read_request_new(NULL, &read_request));
    need(pra_buffer_new(NULL, &reply));
    need(pra_buffer_new(NULL, &stored));
    while (next(&in)) {
        pra_buffer_reset(reply);
        answer(in);
        send_reply();
    }
    return 0;
}
