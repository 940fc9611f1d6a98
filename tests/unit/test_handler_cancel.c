/* SPDX-License-Identifier: Apache-2.0 */
/* Exchanges that are given up: by a host that says that nobody waits any more, and by
 * pra_exchange_reset. */
#include "handler_fixture.h"
#include "support/generated.h"

enum { SAMPLED = PRA_RESPONSE_SAMPLES, STREAMED = PRA_RESPONSE_STREAMED_XOR_CHUNKS };

#define LABEL(name, value)                                                                         \
    {                                                                                              \
        {name, sizeof(name) - 1}, {value, sizeof(value) - 1},                                      \
    }

static const struct generated_series series[] = {
    {{LABEL("n", "1")}, 1, 0, 1, 30000, 0}, {{LABEL("n", "2")}, 1, 0, 1, 30000, 0},
    {{LABEL("n", "3")}, 1, 0, 1, 30000, 0}, {{LABEL("n", "4")}, 1, 0, 1, 30000, 0},
    {{LABEL("n", "5")}, 1, 0, 1, 30000, 0}, {{LABEL("n", "6")}, 1, 0, 1, 30000, 0},
};

/* ── A host whose client goes ── */

struct client {
    size_t asked;
    size_t gone_at; /* the question that is answered with yes, and all behind it */
};

static int is_gone(void *host)
{
    struct client *client = host;
    return client->asked++ >= client->gone_at;
}

static pra_buffer *body_of(size_t queries, int32_t type)
{
    pra_read_request *request;
    pra_buffer *message, *body;
    assert_int_equal(pra_read_request_new(NULL, &request), PRA_OK);
    assert_int_equal(pra_buffer_new(NULL, &message), PRA_OK);
    assert_int_equal(pra_buffer_new(NULL, &body), PRA_OK);
    for (size_t i = 0; i < queries; i++)
        assert_int_equal(pra_read_request_add_query(request, 0, 100000), PRA_OK);
    assert_int_equal(pra_read_request_add_accepted(request, type), PRA_OK);
    assert_int_equal(pra_read_request_encode(request, message, NULL), PRA_OK);
    assert_int_equal(
        pra_snappy_compress(pra_buffer_data(message), pra_buffer_len(message), body, NULL), PRA_OK);
    pra_buffer_free(message);
    pra_read_request_free(request);
    return body;
}

/* Up to where the storage is to be asked. */
static void prepare(pra_exchange *x, struct client *client, int32_t type)
{
    const pra_header headers[] = {{S("Content-Encoding"), S("snappy")}};
    const pra_request_head head = {.size = sizeof(head),
                                   .method = S("POST"),
                                   .target = S("/api/v1/read"),
                                   .headers = headers,
                                   .header_count = 1,
                                   .host = client,
                                   .cancelled = client ? is_gone : NULL};
    pra_buffer *body = body_of(2, type);
    assert_int_equal(pra_exchange_begin(x, &head), PRA_OK);
    assert_int_equal(pra_exchange_feed(x, pra_buffer_data(body), pra_buffer_len(body)), PRA_OK);
    assert_int_equal(pra_exchange_end(x), PRA_OK);
    pra_buffer_free(body);
}

/* ── A storage that sees it ── */

struct seen {
    struct generated made; /* first: self of its entries */
    int places;            /* states left */
    int released;
    int last; /* what the sink or the list said at last */
    int careless;
};

static int leave(struct seen *seen, const pra_query *query)
{
    if (!*pra_query_state(query))
        seen->places++;
    *pra_query_state(query) = seen;
    return seen->careless;
}

static int push_all(void *self, const pra_context *ctx, const pra_query *query,
                    pra_series_sink *sink, pra_error *err)
{
    struct seen *seen = self;
    seen->made.careless = leave(seen, query);
    int rc = generated_pushed.process_query(&seen->made, ctx, query, sink, err);
    seen->last = pra_series_sink_begin(sink, NULL, 0, NULL); /* is not ended */
    return rc;
}

static const pra_label nameless = LABEL("", "x");

static int list_all(void *self, const pra_context *ctx, const pra_query *query,
                    pra_series_list *list, pra_error *err)
{
    struct seen *seen = self;
    seen->made.careless = leave(seen, query);
    int rc = generated_fetched.select(&seen->made, ctx, query, list, err);
    seen->last = pra_series_list_add(list, &nameless, 1, 0, NULL); /* is not added */
    return rc;
}

static int fetch_one(void *self, const pra_context *ctx, const pra_query *query, uint64_t id,
                     int64_t from_ms, pra_series_sink *sink, pra_error *err)
{
    struct seen *seen = self;
    assert_ptr_equal(*pra_query_state(query), seen);
    return generated_fetched.fetch(&seen->made, ctx, query, id, from_ms, sink, err);
}

static void release(void *self, void *state)
{
    struct seen *seen = self;
    assert_ptr_equal(state, seen);
    seen->released++;
}

static int write_all(void *self, const pra_context *ctx, const pra_write_request *request,
                     pra_write_result *result, pra_error *err)
{
    (void)self, (void)ctx, (void)request, (void)result, (void)err;
    return PRA_OK;
}

static const pra_storage_vtbl vtbls[] = {
    {.size = sizeof(pra_storage_vtbl),
     .write = write_all,
     .process_query = push_all,
     .release = release},
    {.size = sizeof(pra_storage_vtbl), .select = list_all, .fetch = fetch_one, .release = release},
};

enum { WAYS = sizeof(vtbls) / sizeof(vtbls[0]) };

static struct hosted *serve(struct seen *seen, int way)
{
    const pra_storage storage = {&vtbls[way], seen};
    *seen = (struct seen){.made = {.series = series, .series_count = 6}};
    return hosted_over(NULL, &storage, NULL);
}

/* ── Tests ── */

/* To the end, or to where it breaks off. */
static int take_all(pra_exchange *x)
{
    const void *piece;
    size_t len;
    int rc;
    while ((rc = pra_exchange_body(x, &piece, &len)) == PRA_OK)
        ;
    return rc;
}

/* At each question in turn. */
static void a_read_ends_at_the_next_series_or_piece(void **state)
{
    (void)state;
    for (int way = 0; way < WAYS; way++)
        for (int32_t type = SAMPLED; type <= STREAMED; type++)
            for (int careless = 0; careless < 2; careless++) {
                struct seen seen;
                struct hosted *h = serve(&seen, way);
                struct client client = {.gone_at = SIZE_MAX};
                seen.careless = careless;
                prepare(h->x, &client, type);
                assert_int_equal(pra_exchange_run(h->x), PRA_OK);
                assert_int_equal(take_all(h->x), PRA_DONE);
                assert_int_equal(pra_exchange_status(h->x), 200);
                const size_t questions = client.asked;
                assert_true(questions >= 12); /* one a series, at least */
                for (size_t at = 0; at < questions; at++) {
                    client = (struct client){.gone_at = at};
                    prepare(h->x, &client, type);
                    assert_int_equal(pra_exchange_run(h->x), PRA_OK);
                    if (pra_exchange_status(h->x) == 200)
                        assert_int_equal(take_all(h->x), PRA_ERR_CANCELLED);
                    else
                        assert_int_equal(pra_exchange_status(h->x), 503);
                    assert_int_equal(pra_exchange_error(h->x)->code, PRA_ERR_CANCELLED);
                    assert_int_equal(seen.places, seen.released);
                }
                hosted_free(h);
                assert_int_equal(seen.places, seen.released);
            }
}

static void sinks_and_lists_say_so_from_then_on(void **state)
{
    (void)state;
    for (int way = 0; way < WAYS; way++)
        for (int careless = 0; careless < 2; careless++) {
            struct seen seen;
            struct hosted *h = serve(&seen, way);
            struct client client = {.gone_at = 3};
            seen.careless = careless;
            prepare(h->x, &client, SAMPLED);
            assert_int_equal(pra_exchange_run(h->x), PRA_OK);
            assert_int_equal(seen.last, PRA_ERR_CANCELLED);
            /* asked once; by the second query's sink again, if the storage says that all is well */
            assert_int_equal(client.asked, way == 0 && careless ? 5 : 4);
            hosted_free(h);
        }
}

static void stepped_reads_are_cancelled_too(void **state)
{
    struct seen seen;
    struct hosted *h = serve(&seen, 0);
    struct client client = {.gone_at = 1};
    pra_error err = {0};
    (void)state;
    prepare(h->x, &client, SAMPLED);
    pra_series_sink *sink = pra_exchange_sink(h->x, 0);
    assert_int_equal(pra_series_sink_add(sink, NULL, 0, NULL, NULL, 0, &err), PRA_OK);
    assert_int_equal(pra_series_sink_add(sink, NULL, 0, NULL, NULL, 0, &err), PRA_ERR_CANCELLED);
    assert_int_equal(err.code, PRA_ERR_CANCELLED);
    assert_int_equal(pra_exchange_finish(h->x, PRA_OK, NULL), PRA_OK);
    assert_int_equal(pra_exchange_status(h->x), 503);
    hosted_free(h);
}

static void writes_are_not_cancelled(void **state)
{
    struct seen seen;
    struct hosted *h = serve(&seen, 0);
    struct client client = {.gone_at = 0};
    const pra_header headers[] = {{S("Content-Type"), S("application/x-protobuf")},
                                  {S("Content-Encoding"), S("snappy")}};
    const pra_request_head head = {.size = sizeof(head),
                                   .method = S("POST"),
                                   .target = S("/api/v1/write"),
                                   .headers = headers,
                                   .header_count = 2,
                                   .host = &client,
                                   .cancelled = is_gone};
    (void)state;
    assert_int_equal(pra_exchange_begin(h->x, &head), PRA_OK);
    assert_int_equal(pra_exchange_feed(h->x, "\0", 1), PRA_OK);
    assert_int_equal(pra_exchange_end(h->x), PRA_OK);
    assert_int_equal(pra_exchange_run(h->x), PRA_OK);
    assert_int_equal(pra_exchange_status(h->x), 204);
    assert_int_equal(client.asked, 0);
    hosted_free(h);
}

/* ── Reset ── */

static void assert_idle(struct hosted *h)
{
    pra_exchange *x = h->x;
    pra_exchange_stats stats = {.size = sizeof(stats)};
    const pra_header *headers;
    const void *piece;
    pra_str path;
    size_t len;
    assert_int_equal(pra_exchange_step(x), PRA_ERR_STATE);
    assert_int_equal(pra_exchange_status(x), 0);
    assert_int_equal(pra_exchange_headers(x, &headers), 0);
    assert_int_equal(pra_exchange_body(x, &piece, &len), PRA_ERR_STATE);
    assert_int_equal(pra_exchange_feed(x, "", 0), PRA_ERR_STATE);
    assert_int_equal(pra_exchange_end(x), PRA_ERR_STATE);
    assert_int_equal(pra_exchange_run(x), PRA_ERR_STATE);
    assert_int_equal(pra_exchange_error(x)->code, 0);
    assert_int_equal(pra_exchange_get_stats(x, &stats), PRA_OK);
    assert_int_equal(stats.endpoint, PRA_ENDPOINT_AUTO);
    assert_int_equal(stats.series + stats.body_bytes, 0);
    pra_context_path(pra_exchange_context(x), &path);
    assert_int_equal(path.len, 0);
}

static void a_reset_lets_go_of_everything(void **state)
{
    (void)state;
    pra_exchange_reset(NULL);
    for (int way = 0; way < WAYS; way++)
        for (int when = 0; when < 5; when++) {
            struct seen seen;
            struct hosted *h = serve(&seen, way);
            const void *piece;
            size_t len;
            for (int round = 0; round < 2; round++) {
                if (when == 1) {
                    assert_int_equal(hosted_begin(h, "POST", "/api/v1/read", ""), PRA_OK);
                    assert_int_equal(pra_exchange_feed(h->x, "abc", 3), PRA_OK);
                } else if (when == 2) {
                    assert_int_equal(hosted_begin(h, "GET", "/", ""), PRA_DONE);
                } else if (when > 2) {
                    prepare(h->x, NULL, when == 3 ? SAMPLED : STREAMED);
                    assert_int_equal(pra_exchange_run(h->x), PRA_OK);
                    assert_int_equal(pra_exchange_body(h->x, &piece, &len), PRA_OK);
                }
                pra_exchange_reset(h->x);
                assert_int_equal(seen.places, seen.released);
                assert_idle(h);
            }
            prepare(h->x, NULL, STREAMED);
            assert_int_equal(pra_exchange_run(h->x), PRA_OK);
            assert_int_equal(take_all(h->x), PRA_DONE);
            hosted_free(h);
        }
}

static int reset_inside(void *self, const pra_context *ctx, const pra_query *query,
                        pra_series_sink *sink, pra_error *err)
{
    const int64_t t = 1;
    const double value = 1;
    (void)ctx, (void)query;
    pra_exchange_reset(*(pra_exchange **)self);
    return pra_series_sink_add(sink, NULL, 0, &t, &value, 1, err);
}

static void a_callback_cannot_reset_its_exchange(void **state)
{
    static const pra_storage_vtbl vtbl = {.size = sizeof(vtbl), .process_query = reset_inside};
    pra_exchange *inside;
    const pra_storage storage = {&vtbl, &inside};
    struct hosted *h = hosted_over(NULL, &storage, NULL);
    pra_exchange_stats stats = {.size = sizeof(stats)};
    (void)state;
    inside = h->x;
    prepare(h->x, NULL, SAMPLED);
    assert_int_equal(pra_exchange_run(h->x), PRA_OK);
    assert_int_equal(pra_exchange_status(h->x), 200);
    assert_int_equal(pra_exchange_get_stats(h->x, &stats), PRA_OK);
    assert_int_equal(stats.series, 2);
    hosted_free(h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_read_ends_at_the_next_series_or_piece),
        cmocka_unit_test(sinks_and_lists_say_so_from_then_on),
        cmocka_unit_test(stepped_reads_are_cancelled_too),
        cmocka_unit_test(writes_are_not_cancelled),
        cmocka_unit_test(a_reset_lets_go_of_everything),
        cmocka_unit_test(a_callback_cannot_reset_its_exchange),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
