/* SPDX-License-Identifier: Apache-2.0 */
#include "support/hosted.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(holds)                                                                               \
    do {                                                                                           \
        if (!(holds)) {                                                                            \
            (void)fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #holds);                      \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

static pra_str str(const char *s)
{
    return (pra_str){s, strlen(s)};
}

/* ── The storage ── */

static int outcome(const struct hosted_storage *s, pra_str name, pra_error *err)
{
    char text[200];
    if (s->message) {
        int n = snprintf(text, sizeof(text), s->fail_query ? "%s %.*s" : "%s", s->message,
                         (int)name.len, name.len ? name.ptr : "");
        CHECK(n > 0 && (size_t)n < sizeof(text));
        pra_error_set_cstr(err, s->code, text);
    }
    if (s->http_status)
        err->http_status = s->http_status;
    if (s->retry_after)
        err->retry_after_s = s->retry_after;
    return s->code;
}

static void reenter(struct hosted_storage *s)
{
    pra_request_head head = {.size = sizeof(head)};
    if (!s->inside)
        return;
    pra_exchange *x = s->inside->x;
    CHECK(pra_exchange_begin(x, &head) == PRA_ERR_BUSY);
    CHECK(pra_exchange_feed(x, "x", 1) == PRA_ERR_BUSY);
    CHECK(pra_exchange_end(x) == PRA_ERR_BUSY);
    CHECK(pra_exchange_run(x) == PRA_ERR_BUSY);
    CHECK(pra_exchange_finish(x, 0, NULL) == PRA_ERR_BUSY);
    s->reentered++;
}

static int write_entry(void *self, const pra_context *ctx, const pra_write_request *request,
                       pra_write_result *result, pra_error *err)
{
    struct hosted_storage *s = self;
    pra_columns columns = {.size = sizeof(columns)};
    CHECK(ctx && request && result && err);
    CHECK(pra_write_request_columns(request, &columns) == PRA_OK);
    s->writes++;
    s->series += (int64_t)columns.series_count;
    for (int i = 0; i < s->reject; i++)
        pra_write_result_reject(result, PRA_DATUM_SAMPLE, 0, 1, s->reason);
    reenter(s);
    return outcome(s, (pra_str){NULL, 0}, err);
}

/* Adds a series of the name that is asked for, with one sample. */
static int query_entry(void *self, const pra_context *ctx, const pra_query *query,
                       pra_series_sink *sink, pra_error *err)
{
    struct hosted_storage *s = self;
    const pra_matcher *matcher = pra_query_matcher(query, 0);
    pra_label label = {str("__name__"), {NULL, 0}};
    const int64_t t = 1;
    const double value = 1;
    CHECK(ctx && sink && err);
    reenter(s);
    if (!matcher)
        return outcome(s, label.value, err);
    pra_matcher_value(matcher, &label.value);
    CHECK(label.value.len == 0 || pra_query_matches(query, &label, 1) >= 0);
    int rc = pra_series_sink_add(sink, &label, 1, &t, &value, 1, err);
    if (rc && !s->careless)
        return rc;
    if (s->fail_query &&
        (label.value.len != 1 || !memchr(s->fail_query, *label.value.ptr, strlen(s->fail_query))))
        return PRA_OK;
    return outcome(s, label.value, err);
}

static void destroy_entry(void *self)
{
    ((struct hosted_storage *)self)->destroyed++;
}

static const pra_storage_vtbl entries = {
    .size = sizeof(entries),
    .flags = PRA_STORAGE_PARALLEL_QUERIES,
    .write = write_entry,
    .process_query = query_entry,
    .destroy = destroy_entry,
};

/* ── Life ── */

struct hosted *hosted_try_new(const pra_alloc *alloc, const pra_handler_opts *opts,
                              struct hosted_storage **storage)
{
    struct hosted *h = calloc(1, sizeof(*h));
    *storage = calloc(1, sizeof(**storage));
    CHECK(h && *storage);
    h->storage = *storage;
    const pra_storage made = {&entries, *storage};
    if (pra_handler_new(alloc, &made, opts, &h->handler, NULL) == PRA_OK &&
        pra_exchange_new(h->handler, NULL, &h->x) == PRA_OK)
        return h;
    hosted_free(h);
    return NULL;
}

struct hosted *hosted_over(const pra_alloc *alloc, const pra_storage *storage,
                           const pra_handler_opts *opts)
{
    struct hosted *h = calloc(1, sizeof(*h));
    CHECK(h);
    if (pra_handler_new(alloc, storage, opts, &h->handler, NULL) == PRA_OK &&
        pra_exchange_new(h->handler, NULL, &h->x) == PRA_OK)
        return h;
    hosted_free(h);
    return NULL;
}

struct hosted *hosted_new(const pra_alloc *alloc, const pra_handler_opts *opts)
{
    struct hosted_storage *storage;
    struct hosted *h = hosted_try_new(alloc, opts, &storage);
    CHECK(h);
    return h;
}

void hosted_free(struct hosted *h)
{
    if (!h)
        return;
    pra_exchange_free(h->x);
    pra_handler_free(h->handler);
    pra_buffer_free(h->gathered);
    free(h);
}

void hosted_storage_free(struct hosted_storage *storage)
{
    free(storage);
}

/* ── One exchange ── */

int hosted_begin(struct hosted *h, const char *method_cstr, const char *target_cstr,
                 const char *headers_cstr)
{
    pra_header headers[16];
    pra_request_head head = {.size = sizeof(head), .headers = headers};
    head.method = str(method_cstr);
    head.target = str(target_cstr);
    for (const char *line = headers_cstr, *end; (end = strchr(line, '\n')); line = end + 1) {
        const char *colon = memchr(line, ':', (size_t)(end - line));
        CHECK(colon && colon[1] == ' ' && head.header_count < 16);
        headers[head.header_count++] = (pra_header){
            {line, (size_t)(colon - line)},
            {colon + 2, (size_t)(end - colon - 2)},
        };
    }
    return pra_exchange_begin(h->x, &head);
}

static int step_read(struct hosted *h, pra_error *err)
{
    const pra_read_request *request = pra_exchange_read_request(h->x);
    size_t count = pra_read_request_query_count(request);
    int rc = PRA_OK;
    CHECK(!pra_exchange_sink(h->x, count));
    for (size_t i = 0; i < count && !rc; i++)
        rc = query_entry(h->storage, pra_exchange_context(h->x), pra_read_request_query(request, i),
                         pra_exchange_sink(h->x, i), err);
    return rc;
}

static void step(struct hosted *h)
{
    pra_error err = {0};
    int rc;
    if (pra_exchange_step(h->x) == PRA_STEP_WRITE) {
        rc = write_entry(h->storage, pra_exchange_context(h->x), pra_exchange_write_request(h->x),
                         pra_exchange_write_result(h->x), &err);
    } else {
        CHECK(pra_exchange_step(h->x) == PRA_STEP_READ);
        rc = step_read(h, &err);
    }
    int told = err.code || err.http_status || err.retry_after_s;
    CHECK(pra_exchange_finish(h->x, rc, told ? &err : NULL) == PRA_OK);
}

void hosted_body(struct hosted *h, pra_str body, struct hosted_way way)
{
    size_t piece = way.pieces ? 1 : body.len ? body.len : 1;
    int rc = PRA_OK;
    for (size_t at = 0; at < body.len && rc == PRA_OK; at += piece)
        rc = pra_exchange_feed(h->x, body.ptr + at, piece);
    if (rc == PRA_OK)
        rc = pra_exchange_end(h->x);
    if (rc == PRA_OK && way.stepped)
        step(h);
    else if (rc == PRA_OK)
        h->ran = pra_exchange_run(h->x);
    CHECK(rc == PRA_OK || rc == PRA_DONE);
    CHECK(pra_exchange_step(h->x) == PRA_STEP_RESPOND);
}

void hosted_exchange(struct hosted *h, const char *method_cstr, const char *target_cstr,
                     const char *headers_cstr, pra_str body, struct hosted_way way)
{
    int rc = hosted_begin(h, method_cstr, target_cstr, headers_cstr);
    CHECK(rc == PRA_OK || rc == PRA_DONE);
    if (rc == PRA_OK)
        hosted_body(h, body, way);
}

/* ── Requests ── */

void hosted_post(struct hosted *h, const char *target_cstr, const char *content_type_cstr,
                 const pra_buffer *message, struct hosted_way way)
{
    char headers[200];
    pra_buffer *body;
    int n = snprintf(headers, sizeof(headers), "Content-Type: %s\nContent-Encoding: snappy\n",
                     content_type_cstr);
    CHECK(n > 0 && (size_t)n < sizeof(headers));
    CHECK(pra_buffer_new(NULL, &body) == PRA_OK);
    CHECK(pra_snappy_compress(pra_buffer_data(message), pra_buffer_len(message), body, NULL) ==
          PRA_OK);
    hosted_exchange(h, "POST", target_cstr, headers,
                    (pra_str){pra_buffer_data(body), pra_buffer_len(body)}, way);
    pra_buffer_free(body);
}

static void add_series(pra_write_request *request, const pra_label *labels, size_t count)
{
    const int64_t t = 1;
    const double value = 1;
    CHECK(pra_write_request_add_series(request, labels, count) == PRA_OK);
    CHECK(pra_write_request_add_samples(request, &t, &value, NULL, 1) == PRA_OK);
}

void hosted_post_write(struct hosted *h, int32_t version, pra_write_request *request,
                       struct hosted_way way)
{
    pra_buffer *message;
    CHECK(pra_buffer_new(NULL, &message) == PRA_OK);
    CHECK(pra_write_request_encode(request, version, message, NULL) == PRA_OK);
    hosted_post(h, "/api/v1/write",
                version == PRA_WRITE_V2
                    ? "application/x-protobuf;proto=io.prometheus.write.v2.Request"
                    : "application/x-protobuf",
                message, way);
    pra_buffer_free(message);
    pra_write_request_free(request);
}

void hosted_write(struct hosted *h, pra_str value, struct hosted_way way)
{
    const pra_label labels[] = {{str("__name__"), str("v")}, {str("value"), value}};
    pra_write_request *request;
    CHECK(pra_write_request_new(NULL, &request) == PRA_OK);
    add_series(request, labels, 2);
    hosted_post_write(h, PRA_WRITE_V1, request, way);
}

void hosted_write_labels(struct hosted *h, const pra_label *labels, size_t count,
                         struct hosted_way way)
{
    const pra_label good = {str("__name__"), str("good")};
    pra_write_request *request;
    CHECK(pra_write_request_new(NULL, &request) == PRA_OK);
    add_series(request, &good, 1);
    add_series(request, labels, count);
    hosted_post_write(h, PRA_WRITE_V1, request, way);
}

void hosted_read(struct hosted *h, const char *names_cstr, struct hosted_way way)
{
    pra_read_request *request;
    pra_buffer *message;
    CHECK(pra_read_request_new(NULL, &request) == PRA_OK);
    CHECK(pra_buffer_new(NULL, &message) == PRA_OK);
    for (const char *name = names_cstr; *name; name++) {
        CHECK(pra_read_request_add_query(request, 0, 10) == PRA_OK);
        CHECK(pra_read_request_add_matcher(request, PRA_MATCH_EQUAL, str("__name__"),
                                           (pra_str){name, 1}) == PRA_OK);
    }
    CHECK(pra_read_request_encode(request, message, NULL) == PRA_OK);
    hosted_post(h, "/api/v1/read", "application/x-protobuf", message, way);
    pra_buffer_free(message);
    pra_read_request_free(request);
}

void hosted_expect_series(const struct hosted *h, const char *names_cstr)
{
    pra_read_response *response;
    pra_columns c = {.size = sizeof(c)};
    const uint32_t *offsets;
    size_t count = strlen(names_cstr);
    CHECK(pra_read_response_new(NULL, &response) == PRA_OK);
    CHECK(pra_read_response_decode_snappy(response, h->answer.ptr, h->answer.len, NULL, NULL) ==
          PRA_OK);
    CHECK(pra_read_response_columns(response, &c) == PRA_OK);
    CHECK(pra_read_response_results(response, &offsets) == count);
    CHECK(c.series_count == count && c.sample_count == count && c.label_count == count);
    for (size_t i = 0; i < count; i++) {
        CHECK(offsets[i] == i && offsets[i + 1] == i + 1);
        CHECK(c.labels[i].value.len == 1 && c.base[c.labels[i].value.off] == names_cstr[i]);
    }
    pra_read_response_free(response);
}

/* ── Threads ── */

struct job {
    pthread_t thread;
    void (*task)(void *arg, size_t index);
    void *arg;
    size_t index;
};

static void *work(void *arg)
{
    const struct job *job = arg;
    job->task(job->arg, job->index);
    return NULL;
}

static int parallel_for(void *ctx, size_t n, void (*task)(void *arg, size_t index), void *arg)
{
    struct hosted_threads *threads = ctx;
    if (threads->refuse)
        return 1;
    struct job *jobs = calloc(n, sizeof(*jobs));
    CHECK(jobs);
    for (size_t i = n; i-- > 0; threads->started++) {
        jobs[i] = (struct job){.task = task, .arg = arg, .index = i};
        if (threads->in_turn)
            work(&jobs[i]);
        else
            CHECK(pthread_create(&jobs[i].thread, NULL, work, &jobs[i]) == 0);
    }
    for (size_t i = 0; i < n && !threads->in_turn; i++)
        CHECK(pthread_join(jobs[i].thread, NULL) == 0);
    free(jobs);
    return 0;
}

pra_executor hosted_executor(struct hosted_threads *threads)
{
    return (pra_executor){threads, parallel_for};
}
