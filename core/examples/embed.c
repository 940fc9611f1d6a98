/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The handler without a server: bytes of an HTTP request go in, bytes of its answer come out.
 *
 * The storage is a toy: all samples of a series in one growing array, nothing on disk, one thread.
 * A real host takes method, target, headers and body from its sockets; main() makes them by hand.
 *
 *   cc embed.c -o embed $(pkg-config --cflags --libs pra) && ./embed
 */
#include <pra.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the storage */

enum { MAX_LABELS = 16 };

typedef struct toy_series {
    pra_label labels[MAX_LABELS]; /* sorted: the handler makes every series canonical */
    size_t label_count;
    int64_t *timestamps_ms;
    double *values;
    size_t count, capacity;
} toy_series;

typedef struct toy_store {
    toy_series *series;
    size_t count;
} toy_store;

static pra_str copy_of(const char *ptr, size_t len)
{
    char *copy = malloc(len + 1);
    if (copy == NULL)
        abort();
    memcpy(copy, ptr, len);
    return (pra_str){copy, len};
}

static int same(pra_str a, const char *base, pra_span b)
{
    return a.len == b.len && memcmp(a.ptr, base + b.off, b.len) == 0;
}

static int has_labels(const toy_series *series, const pra_series *wanted)
{
    if (series->label_count != wanted->label_count)
        return 0;
    for (size_t i = 0; i < wanted->label_count; i++) {
        if (!same(series->labels[i].name, wanted->base, wanted->labels[i].name) ||
            !same(series->labels[i].value, wanted->base, wanted->labels[i].value))
            return 0;
    }
    return 1;
}

static toy_series *find_or_add(toy_store *store, const pra_series *wanted)
{
    for (size_t i = 0; i < store->count; i++) {
        if (has_labels(&store->series[i], wanted))
            return &store->series[i];
    }
    toy_series *grown = realloc(store->series, (store->count + 1) * sizeof *grown);
    if (grown == NULL)
        abort();
    store->series = grown;
    toy_series *series = &store->series[store->count++];
    *series = (toy_series){.label_count = wanted->label_count};
    for (size_t i = 0; i < wanted->label_count; i++) {
        pra_label_span span = wanted->labels[i];
        series->labels[i].name = copy_of(wanted->base + span.name.off, span.name.len);
        series->labels[i].value = copy_of(wanted->base + span.value.off, span.value.len);
    }
    return series;
}

/* In order of time; what is there for this time is replaced. */
static void add_sample(toy_series *series, int64_t timestamp_ms, double value)
{
    size_t at = series->count;
    while (at > 0 && series->timestamps_ms[at - 1] > timestamp_ms)
        at--;
    if (at > 0 && series->timestamps_ms[at - 1] == timestamp_ms) {
        series->values[at - 1] = value;
        return;
    }
    if (series->count == series->capacity) {
        series->capacity = series->capacity * 2 + 16;
        series->timestamps_ms =
            realloc(series->timestamps_ms, series->capacity * sizeof *series->timestamps_ms);
        series->values = realloc(series->values, series->capacity * sizeof *series->values);
        if (series->timestamps_ms == NULL || series->values == NULL)
            abort();
    }
    size_t behind = series->count++ - at;
    memmove(series->timestamps_ms + at + 1, series->timestamps_ms + at,
            behind * sizeof *series->timestamps_ms);
    memmove(series->values + at + 1, series->values + at, behind * sizeof *series->values);
    series->timestamps_ms[at] = timestamp_ms;
    series->values[at] = value;
}

static int toy_write(void *self, const pra_context *ctx, const pra_write_request *request,
                     pra_write_result *result, pra_error *err)
{
    (void)ctx, (void)err;
    pra_columns columns = {.size = sizeof columns};
    pra_write_request_columns(request, &columns);
    for (size_t i = 0; i < columns.series_count; i++) {
        pra_series series = {.size = sizeof series};
        pra_columns_series(&columns, i, &series);
        if (series.label_count > MAX_LABELS) {
            static const char why[] = "the toy has room for 16 labels";
            pra_write_result_reject(result, PRA_DATUM_SAMPLE, i, series.sample_count,
                                    (pra_str){why, sizeof why - 1});
            continue;
        }
        toy_series *stored = find_or_add(self, &series);
        for (size_t k = 0; k < series.sample_count; k++)
            add_sample(stored, series.timestamps_ms[k], series.values[k]);
    }
    return PRA_OK;
}

/* Which series are asked for? */
static int toy_select(void *self, const pra_context *ctx, const pra_query *query,
                      pra_series_list *list, pra_error *err)
{
    (void)ctx;
    const toy_store *store = self;
    for (size_t i = 0; i < store->count; i++) {
        const toy_series *series = &store->series[i];
        int rc = pra_query_matches(query, series->labels, series->label_count);
        if (rc < 0)
            return pra_error_set_cstr(err, PRA_ERR_RETRY, pra_strerror(rc));
        if (rc == 1)
            rc = pra_series_list_add(list, series->labels, series->label_count, i, err);
        if (rc != PRA_OK)
            return rc;
    }
    return PRA_OK;
}

/* What is in one of them? The sink passes over what it has, and what is outside the time range. */
static int toy_fetch(void *self, const pra_context *ctx, const pra_query *query, uint64_t id,
                     int64_t from_ms, pra_series_sink *sink, pra_error *err)
{
    (void)ctx, (void)query, (void)from_ms;
    const toy_series *series = &((const toy_store *)self)->series[id];
    return pra_series_sink_samples(sink, series->timestamps_ms, series->values, series->count, err);
}

static void toy_destroy(void *self)
{
    toy_store *store = self;
    for (size_t i = 0; i < store->count; i++) {
        toy_series *series = &store->series[i];
        for (size_t k = 0; k < series->label_count; k++) {
            free((char *)series->labels[k].name.ptr);
            free((char *)series->labels[k].value.ptr);
        }
        free(series->timestamps_ms);
        free(series->values);
    }
    free(store->series);
    free(store);
}

static const pra_storage_vtbl toy = {
    .size = sizeof toy,
    .write = toy_write,
    .select = toy_select,
    .fetch = toy_fetch,
    .destroy = toy_destroy,
};

/* ---- the host */

#define STR(literal) ((pra_str){literal, sizeof(literal) - 1})

static void check(int rc, const char *what)
{
    if (rc >= 0)
        return;
    fprintf(stderr, "%s: %s\n", what, pra_strerror(rc));
    exit(1);
}

/* Answers one request and prints the answer; its body is left in answer. */
static void serve(pra_exchange *x, pra_str target, const pra_buffer *body, pra_buffer *answer)
{
    const pra_header headers[] = {{STR("Content-Encoding"), STR("snappy")},
                                  {STR("Content-Type"), STR("application/x-protobuf")}};
    pra_request_head head = {
        .size = sizeof head,
        .method = STR("POST"),
        .target = target,
        .headers = headers,
        .header_count = 2,
    };
    int rc = pra_exchange_begin(x, &head);
    if (rc == PRA_OK)
        rc = pra_exchange_feed(x, pra_buffer_data(body), pra_buffer_len(body));
    if (rc == PRA_OK)
        rc = pra_exchange_end(x);
    if (rc == PRA_OK)
        rc = pra_exchange_run(x); /* calls toy_write, or toy_select and toy_fetch */
    check(rc, "exchange");

    printf("POST %.*s -> %" PRId32 "\n", (int)target.len, target.ptr, pra_exchange_status(x));
    const pra_header *out;
    size_t count = pra_exchange_headers(x, &out);
    for (size_t i = 0; i < count; i++)
        printf("  %.*s: %.*s\n", (int)out[i].name.len, out[i].name.ptr, (int)out[i].value.len,
               out[i].value.ptr);
    const void *piece;
    size_t len;
    pra_buffer_reset(answer);
    while (pra_exchange_body(x, &piece, &len) == PRA_OK)
        check(pra_buffer_append(answer, piece, len), "append");
}

/* ---- what a sender and a reader would do */

static void make_write(pra_buffer *out)
{
    const pra_label labels[] = {{STR("__name__"), STR("room_celsius")},
                                {STR("room"), STR("kitchen")}};
    const int64_t timestamps_ms[] = {1000, 2000, 3000};
    const double values[] = {20.5, 21, 21.5};
    pra_write_request *request;
    pra_buffer *message;
    check(pra_write_request_new(NULL, &request), "request");
    check(pra_buffer_new(NULL, &message), "buffer");
    check(pra_write_request_add_series(request, labels, 2), "series");
    check(pra_write_request_add_samples(request, timestamps_ms, values, NULL, 3), "samples");
    check(pra_write_request_encode(request, PRA_WRITE_V1, message, NULL), "encode");
    check(pra_snappy_compress(pra_buffer_data(message), pra_buffer_len(message), out, NULL),
          "compress");
    pra_buffer_free(message);
    pra_write_request_free(request);
}

static void make_read(pra_buffer *out)
{
    pra_read_request *request;
    pra_buffer *message;
    check(pra_read_request_new(NULL, &request), "request");
    check(pra_buffer_new(NULL, &message), "buffer");
    check(pra_read_request_add_query(request, 2000, 9000), "query");
    check(pra_read_request_add_matcher(request, PRA_MATCH_EQUAL, STR("__name__"),
                                       STR("room_celsius")),
          "matcher");
    check(pra_read_request_add_matcher(request, PRA_MATCH_REGEX, STR("room"), STR("k.*|bath")),
          "matcher");
    check(pra_read_request_encode(request, message, NULL), "encode");
    check(pra_snappy_compress(pra_buffer_data(message), pra_buffer_len(message), out, NULL),
          "compress");
    pra_buffer_free(message);
    pra_read_request_free(request);
}

static void print_read(const pra_buffer *answer)
{
    pra_read_response *response;
    pra_columns c = {.size = sizeof c};
    check(pra_read_response_new(NULL, &response), "response");
    check(pra_read_response_decode_snappy(response, pra_buffer_data(answer), pra_buffer_len(answer),
                                          NULL, NULL),
          "decode");
    check(pra_read_response_columns(response, &c), "columns");
    for (size_t i = 0; i < c.label_count; i++)
        printf("  %.*s=\"%.*s\"\n", (int)c.labels[i].name.len, c.base + c.labels[i].name.off,
               (int)c.labels[i].value.len, c.base + c.labels[i].value.off);
    for (size_t i = 0; i < c.sample_count; i++)
        printf("  %g at %" PRId64 "\n", c.values[i], c.timestamps_ms[i]);
    pra_read_response_free(response);
}

int main(void)
{
    pra_storage storage = {&toy, calloc(1, sizeof(toy_store))};
    pra_handler *handler;
    pra_exchange *exchange;
    pra_buffer *body, *answer;
    if (storage.self == NULL)
        abort();
    check(pra_handler_new(NULL, &storage, NULL, &handler, NULL), "handler");
    check(pra_exchange_new(handler, NULL, &exchange), "exchange");
    check(pra_buffer_new(NULL, &body), "buffer");
    check(pra_buffer_new(NULL, &answer), "buffer");

    make_write(body);
    serve(exchange, STR("/api/v1/write"), body, answer);

    pra_buffer_reset(body);
    make_read(body);
    serve(exchange, STR("/api/v1/read"), body, answer);
    print_read(answer);

    pra_buffer_free(answer);
    pra_buffer_free(body);
    pra_exchange_free(exchange);
    pra_handler_free(handler); /* calls toy_destroy */
    return 0;
}
