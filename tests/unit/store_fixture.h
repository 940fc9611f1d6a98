/* SPDX-License-Identifier: Apache-2.0 */
/* A store under test: building requests for its vtable, and its answers as text. */
#ifndef TESTS_STORE_FIXTURE_H
#define TESTS_STORE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "pra_stores.h"
#include "remote/context.h"
#include "remote/write_result.h"
#include "stores/store_common.h"
#include "support/asking.h"

#define STR(literal)                                                                               \
    (pra_str)                                                                                      \
    {                                                                                              \
        (literal), sizeof(literal) - 1                                                             \
    }

/* Opens an empty store, or again the one that was closed. */
static int open_store(const pra_alloc *alloc, const pra_store_opts *opts, pra_storage *out,
                      pra_error *err);

/* Nothing is deleted but by the tests. */
static const pra_store_opts keep_all = {.size = sizeof keep_all,
                                        .exemplar_retention_ms = PRA_UNLIMITED};

/* What is older than a time is to go. */
static inline pra__cutoffs before(int64_t time_ms)
{
    return (pra__cutoffs){time_ms, time_ms};
}

struct fixture {
    pra_storage store;
    pra_context context;
    pra_write_request *request;
    pra_write_result result;
    pra_error err;
    char text[2048]; /* what was refused by the last write */
    char *dump;      /* what the last query gave */
    size_t dump_len, dump_cap;
};

/* ---- writing */

static pra_str cstr(const char *s)
{
    return (pra_str){s, strlen(s)};
}

/* "a=1,b=2", in order of names. Returns the number of labels. */
static size_t parse_labels(const char *text, pra_label *out)
{
    size_t n = 0;
    while (*text) {
        size_t name = strcspn(text, "="), value = strcspn(text + name + 1, ",");
        out[n++] = (pra_label){{text, name}, {text + name + 1, value}};
        text += name + 1 + value;
        text += *text == ',';
    }
    return n;
}

static void add_series(struct fixture *f, const char *labels)
{
    pra_label parsed[16];
    assert_int_equal(pra_write_request_add_series(f->request, parsed, parse_labels(labels, parsed)),
                     PRA_OK);
}

static inline void add_bits(struct fixture *f, int64_t t, uint64_t bits)
{
    double value;
    memcpy(&value, &bits, sizeof value);
    assert_int_equal(pra_write_request_add_samples(f->request, &t, &value, NULL, 1), PRA_OK);
}

static void add_sample(struct fixture *f, int64_t t, double value)
{
    assert_int_equal(pra_write_request_add_samples(f->request, &t, &value, NULL, 1), PRA_OK);
}

/* A histogram with one positive bucket that holds all of count; count < 0: floats, NaN: stale. */
static void add_histogram(struct fixture *f, int64_t t, double count)
{
    static const pra_bucket_span spans[] = {{-2, 1}};
    int64_t delta = 0;
    double bucket = -count;
    pra_histogram h = {.timestamp_ms = t, .schema = 3, .zero_threshold = 1e-128, .sum = count / 2};
    pra_columns c = {.size = sizeof c,
                     .histograms = &h,
                     .histogram_count = 1,
                     .bucket_spans = spans,
                     .bucket_span_count = 1,
                     .positive_deltas = &delta,
                     .positive_delta_count = 1,
                     .positive_counts = &bucket,
                     .positive_count_count = 1};
    if (count != count) {
        uint64_t stale = PRA_STALE_NAN_BITS;
        memcpy(&h.sum, &stale, sizeof h.sum);
    } else if (count < 0) {
        h.flags = PRA_HISTOGRAM_FLOAT | PRA_HISTOGRAM_ZERO_FLOAT;
        memcpy(&h.count_bits, &bucket, sizeof bucket);
        h.positive_spans = h.positive_counts = (pra_range){0, 1};
    } else {
        delta = (int64_t)count;
        h.count_bits = (uint64_t)delta;
        h.positive_spans = h.positive_deltas = (pra_range){0, 1};
    }
    assert_int_equal(pra_write_request_add_histogram(f->request, &c, 0), PRA_OK);
}

static void add_exemplar(struct fixture *f, const char *labels, int64_t t, double value)
{
    pra_label parsed[16];
    size_t count = parse_labels(labels, parsed);
    assert_int_equal(pra_write_request_add_exemplar(f->request, parsed, count, t, value), PRA_OK);
}

static inline void add_metadata(struct fixture *f, int32_t type, const char *family,
                                const char *help, const char *unit)
{
    assert_int_equal(
        pra_write_request_add_metadata(f->request, type, cstr(family), cstr(help), cstr(unit)),
        PRA_OK);
}

/* Writes what was added; f->text then says what was refused. */
static int write_request(struct fixture *f)
{
    memset(&f->err, 0, sizeof f->err);
    pra__write_result_init(&f->result, f->request);
    int code = f->store.vtbl->write(f->store.self, &f->context, f->request, &f->result, &f->err);
    pra_buffer *text;
    assert_int_equal(pra_buffer_new(NULL, &text), PRA_OK);
    if (pra__write_result_any(&f->result))
        assert_int_equal(pra__write_result_text(&f->result, text), PRA_OK);
    snprintf(f->text, sizeof f->text, "%.*s", (int)pra_buffer_len(text),
             pra_buffer_len(text) ? (const char *)pra_buffer_data(text) : "");
    pra_buffer_free(text);
    pra_write_request_reset(f->request);
    return code;
}

static void write_ok(struct fixture *f)
{
    if (write_request(f) != PRA_OK)
        fail_msg("%s", f->err.message);
    assert_string_equal(f->text, "");
}

static void write_one(struct fixture *f, const char *labels, int64_t t, double value)
{
    add_series(f, labels);
    add_sample(f, t, value);
    write_ok(f);
}

/* ---- reading */

static void put(struct fixture *f, const char *format, ...)
{
    va_list args;
    char piece[128];
    va_start(args, format);
    size_t len = (size_t)vsnprintf(piece, sizeof piece, format, args);
    va_end(args);
    if (f->dump_len + len + 1 > f->dump_cap) {
        f->dump_cap = (f->dump_cap + len + 1) * 2;
        f->dump = realloc(f->dump, f->dump_cap);
        assert_non_null(f->dump);
    }
    memcpy(f->dump + f->dump_len, piece, len + 1);
    f->dump_len += len;
}

static void put_str(struct fixture *f, const char *base, pra_span s)
{
    for (uint32_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)base[s.off + i];
        put(f, c >= 0x20 && c < 0x7f ? "%c" : "\\%02x", c);
    }
}

static void put_value(struct fixture *f, const double *value)
{
    uint64_t bits;
    memcpy(&bits, value, sizeof bits);
    if ((bits & 0x7fffffffffffffff) > 0x7ff0000000000000)
        put(f, "nan-%llx", (unsigned long long)bits);
    else
        put(f, "%.17g", *value);
}

/* " 5:h3/1.5": count and sum; "f" where they are floats. What add_histogram made is as it was. */
static void put_histogram(struct fixture *f, const pra_columns *c, const pra_histogram *h)
{
    double count;
    memcpy(&count, &h->count_bits, sizeof count);
    bool floats = (h->flags & PRA_HISTOGRAM_FLOAT) != 0;
    put(f, " %lld:h", (long long)h->timestamp_ms);
    if (floats)
        put(f, "f%.17g/", count);
    else
        put(f, "%llu/", (unsigned long long)h->count_bits);
    put_value(f, &h->sum);
    if (h->sum != h->sum)
        return;
    assert_int_equal(h->schema, 3);
    assert_true(h->zero_threshold == 1e-128);
    assert_int_equal(h->positive_spans.count, 1);
    assert_int_equal(c->bucket_spans[h->positive_spans.start].offset, -2);
    if (floats)
        assert_true(c->positive_counts[h->positive_counts.start] == count);
    else
        assert_int_equal(c->positive_deltas[h->positive_deltas.start], h->count_bits);
}

static void put_labels(struct fixture *f, const pra_columns *c, size_t i)
{
    for (uint32_t k = c->label_offsets[i]; k < c->label_offsets[i + 1]; k++) {
        put(f, k > c->label_offsets[i] ? "," : "");
        put_str(f, c->base, c->labels[k].name);
        put(f, "=");
        put_str(f, c->base, c->labels[k].value);
    }
}

/* Samples and histograms in order of time. */
static void put_points(struct fixture *f, const pra_columns *c, size_t i)
{
    uint32_t k = c->sample_offsets[i], h = c->histogram_offsets[i];
    while (k < c->sample_offsets[i + 1] || h < c->histogram_offsets[i + 1]) {
        if (k == c->sample_offsets[i + 1] ||
            (h < c->histogram_offsets[i + 1] &&
             c->histograms[h].timestamp_ms < c->timestamps_ms[k])) {
            put_histogram(f, c, &c->histograms[h++]);
        } else {
            put(f, " %lld:", (long long)c->timestamps_ms[k]);
            put_value(f, &c->values[k++]);
        }
    }
}

static int compare_lines(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Stores and sinks are free in the order of series. */
static void sort_lines(struct fixture *f, size_t count)
{
    char *copy = strdup(f->dump), *at = copy;
    char **lines = malloc((count + 1) * sizeof *lines);
    assert_non_null(lines);
    for (size_t i = 0; i < count; i++) {
        lines[i] = at;
        at += strcspn(at, "\n");
        *at++ = '\0';
    }
    qsort(lines, count, sizeof *lines, compare_lines);
    f->dump_len = 0;
    for (size_t i = 0; i < count; i++) {
        size_t len = strlen(lines[i]);
        memcpy(f->dump + f->dump_len, lines[i], len);
        f->dump[f->dump_len + len] = '\n';
        f->dump_len += len + 1;
    }
    free(lines);
    free(copy);
}

/* A decoded answer to a request of one query, as one line a series. */
static void dump_samples(struct fixture *f, const pra_buffer *body)
{
    pra_read_response *response;
    pra_columns c = {.size = sizeof c};
    assert_int_equal(pra_read_response_new(NULL, &response), PRA_OK);
    assert_int_equal(pra_read_response_decode_snappy(response, pra_buffer_data(body),
                                                     pra_buffer_len(body), NULL, NULL),
                     PRA_OK);
    assert_int_equal(pra_read_response_columns(response, &c), PRA_OK);
    for (size_t i = 0; i < c.series_count; i++) {
        put_labels(f, &c, i);
        put_points(f, &c, i);
        put(f, "\n");
    }
    sort_lines(f, c.series_count);
    pra_read_response_free(response);
}

/* The frame of a series that goes on takes the line further. */
static void dump_frame(struct fixture *f, const pra_columns *c, size_t *line, size_t *count)
{
    size_t at = f->dump_len, labels = 0;
    put_labels(f, c, 0);
    labels = f->dump_len - at;
    bool more = *count && strncmp(f->dump + *line, f->dump + at, labels) == 0 &&
                f->dump[*line + labels] == ' ';
    if (more) {
        f->dump_len = at - 1; /* over the end of the line */
    } else {
        *line = at;
        ++*count;
    }
    put_points(f, c, 0);
    put(f, "\n");
}

static void dump_frames(struct fixture *f, const pra_buffer *body)
{
    pra_stream_reader *reader;
    size_t line = 0, count = 0;
    assert_int_equal(pra_stream_reader_new(NULL, NULL, &reader), PRA_OK);
    assert_int_equal(pra_stream_reader_feed(reader, pra_buffer_data(body), pra_buffer_len(body)),
                     PRA_OK);
    while (pra_stream_reader_next(reader, &f->err) == PRA_OK) {
        pra_columns c = {.size = sizeof c};
        assert_int_equal(pra_stream_reader_columns(reader, &c), PRA_OK);
        assert_int_equal(c.series_count, 1);
        dump_frame(f, &c, &line, &count);
    }
    assert_int_equal(pra_stream_reader_finish(reader, NULL), PRA_OK);
    pra_stream_reader_free(reader);
    sort_lines(f, count);
}

/* A request of one query; matchers "a=1", "a!=1", "a=~x", "a!~x", then NULL. */
static pra_read_request *new_query(int64_t start, int64_t end, const char *const *matchers)
{
    static const char *const operators[] = {"=", "!=", "=~", "!~"};
    pra_read_request *request;
    assert_int_equal(pra_read_request_new(NULL, &request), PRA_OK);
    assert_int_equal(pra_read_request_add_query(request, start, end), PRA_OK);
    for (; *matchers; matchers++) {
        size_t name = strcspn(*matchers, "=!"), op = 0;
        const char *rest = *matchers + name;
        op = rest[0] == '!' ? (rest[1] == '~' ? 3 : 1) : (rest[1] == '~' ? 2 : 0);
        assert_int_equal(pra_read_request_add_matcher(request, (int32_t)op,
                                                      (pra_str){*matchers, name},
                                                      cstr(rest + strlen(operators[op]))),
                         PRA_OK);
    }
    return request;
}

static int ask_and_dump(struct fixture *f, const pra_read_request *request,
                        void (*dump)(struct fixture *f, const pra_buffer *body))
{
    pra_buffer *body;
    f->dump_len = 0;
    put(f, "");
    memset(&f->err, 0, sizeof f->err);
    assert_int_equal(pra_buffer_new(NULL, &body), PRA_OK);
    int code = ask_storage(&f->store, f->context.tenant, request, NULL, body, &f->err);
    if (code == PRA_OK)
        dump(f, body);
    pra_buffer_free(body);
    return code;
}

/* Asks for [start, end]; matchers as above. */
static int query_range(struct fixture *f, int64_t start, int64_t end, const char *const *matchers)
{
    pra_read_request *request = new_query(start, end, matchers);
    int code = ask_and_dump(f, request, dump_samples);
    pra_read_request_free(request);
    return code;
}

/* The same as a streamed answer. */
static int stream_range(struct fixture *f, int64_t start, int64_t end, const char *const *matchers)
{
    pra_read_request *request = new_query(start, end, matchers);
    assert_int_equal(pra_read_request_add_accepted(request, PRA_RESPONSE_STREAMED_XOR_CHUNKS),
                     PRA_OK);
    int code = ask_and_dump(f, request, dump_frames);
    pra_read_request_free(request);
    return code;
}

#define QUERY(f, ...) query_all(f, (const char *const[]){__VA_ARGS__, NULL})

/* Both kinds of answer must say the same; nothing may be written meanwhile. */
static const char *query_all(struct fixture *f, const char *const *matchers)
{
    assert_int_equal(stream_range(f, INT64_MIN, INT64_MAX, matchers), PRA_OK);
    char *streamed = strdup(f->dump);
    assert_int_equal(query_range(f, INT64_MIN, INT64_MAX, matchers), PRA_OK);
    assert_string_equal(streamed, f->dump);
    free(streamed);
    return f->dump;
}

/* A row of the store's metrics, by its name without "pra_store_memory_" or the like. */
static double metric(struct fixture *f, const char *name)
{
    static const char *const stores[] = {"memory", "sqlite"};
    pra_buffer *out;
    const char *found = NULL;
    char line[96];
    assert_int_equal(pra_buffer_new(NULL, &out), PRA_OK);
    assert_int_equal(f->store.vtbl->metrics(f->store.self, out), PRA_OK);
    assert_int_equal(pra_buffer_append(out, "", 1), PRA_OK);
    for (size_t i = 0; !found && i < 2; i++) {
        snprintf(line, sizeof line, "\npra_store_%s_%s ", stores[i], name);
        found = strstr(pra_buffer_data(out), line);
    }
    if (!found)
        fail_msg("no metric %s", name);
    double value = strtod(found + strlen(line), NULL);
    pra_buffer_free(out);
    return value;
}

static size_t count_of_char(const char *text, char c)
{
    size_t n = 0;
    for (; *text; text++)
        n += *text == c;
    return n;
}

/* ---- set-up */

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    assert_int_equal(pra_write_request_new(NULL, &f->request), PRA_OK);
    int code = open_store(NULL, &keep_all, &f->store, &f->err);
    if (code != PRA_OK)
        fail_msg("%s", f->err.message);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    if (f->store.vtbl)
        f->store.vtbl->destroy(f->store.self);
    pra_write_request_free(f->request);
    free(f->dump);
    free(f);
    return 0;
}

#endif
