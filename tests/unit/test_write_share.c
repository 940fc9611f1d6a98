/* SPDX-License-Identifier: Apache-2.0 */
/* Write requests with several owners: kept by a storage beyond its callback, on any thread. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <pthread.h>

#include <cmocka.h>

#include "pra.h"
#include "support/failing_alloc.h"
#include "support/hosted.h"
#include "unit/write_fixture.h"

enum { WRITES = 40, KEEPERS = 4 };

/* ── A storage that keeps what it is handed ── */

struct keeper {
    pra_write_request *kept[WRITES];
    size_t count;
    int at_once; /* gives its share back in write */
};

static int keep(void *self, const pra_context *ctx, const pra_write_request *request,
                pra_write_result *result, pra_error *err)
{
    struct keeper *keeper = self;
    (void)ctx, (void)result, (void)err;
    pra_write_request *own = pra_write_request_share(request);
    assert_ptr_equal(own, request);
    if (keeper->at_once)
        pra_write_request_free(own);
    else
        keeper->kept[keeper->count++] = own;
    return PRA_OK;
}

static const pra_storage_vtbl keeps = {.size = sizeof(keeps), .write = keep};

static struct hosted *serve(struct keeper *keeper, const pra_alloc *alloc)
{
    const pra_storage storage = {&keeps, keeper};
    return hosted_over(alloc, &storage, NULL);
}

/* Posts a sample with this value. */
static void post(struct hosted *h, double value)
{
    const pra_label labels[] = {{STR("__name__"), STR("up")}, {STR("job"), STR("x")}};
    const int64_t t = 1000;
    pra_write_request *req = new_request(NULL);
    assert_int_equal(pra_write_request_add_series(req, labels, 2), PRA_OK);
    assert_int_equal(pra_write_request_add_samples(req, &t, &value, NULL, 1), PRA_OK);
    hosted_post_write(h, PRA_WRITE_V2, req, (struct hosted_way){0, 0});
}

static double value_of(const pra_write_request *req)
{
    pra_columns c = {.size = sizeof(c)};
    assert_int_equal(pra_write_request_columns(req, &c), PRA_OK);
    assert_int_equal(c.sample_count, 1);
    assert_int_equal(c.label_count, 2);
    assert_memory_equal(c.base + c.labels[0].value.off, "up", 2);
    return c.values[0];
}

/* ── Tests ── */

static void one_with_several_owners_is_not_changed(void **state)
{
    pra_write_request *req = new_request(NULL);
    pra_columns before = {.size = sizeof(before)}, after = {.size = sizeof(after)};
    pra_error err = {0};
    pra_str none = {NULL, 0};
    const int64_t t = 1;
    const double value = 2;
    (void)state;
    assert_null(pra_write_request_share(NULL));
    assert_int_equal(pra_write_request_add_series(req, NULL, 0), PRA_OK);
    assert_int_equal(pra_write_request_add_samples(req, &t, &value, NULL, 1), PRA_OK);
    pra_write_request_columns(req, &before);

    pra_write_request *share = pra_write_request_share(req);
    assert_ptr_equal(share, req);
    assert_int_equal(pra_write_request_decode(share, PRA_WRITE_V1, "", 0, NULL, &err),
                     PRA_ERR_BUSY);
    assert_int_equal(err.code, PRA_ERR_BUSY);
    assert_int_equal(pra_write_request_decode_snappy(share, PRA_WRITE_V1, "\0", 1, NULL, &err),
                     PRA_ERR_BUSY);
    assert_int_equal(pra_write_request_canonicalize(share, 0, NULL, NULL), PRA_ERR_BUSY);
    assert_int_equal(pra_write_request_add_series(share, NULL, 0), PRA_ERR_BUSY);
    assert_int_equal(pra_write_request_add_samples(share, &t, &value, NULL, 1), PRA_ERR_BUSY);
    assert_int_equal(pra_write_request_add_exemplar(share, NULL, 0, 1, 1), PRA_ERR_BUSY);
    assert_int_equal(pra_write_request_add_histogram_encoded(share, "", 0, &err), PRA_ERR_BUSY);
    assert_int_equal(pra_write_request_add_metadata(share, 0, none, none, none), PRA_ERR_BUSY);
    pra_write_request_reset(share);
    pra_write_request_columns(share, &after);
    assert_memory_equal(&after, &before, sizeof(after));
    assert_true(after.values[0] == 2);

    pra_write_request_free(share);
    assert_int_equal(pra_write_request_add_samples(req, &t, &value, NULL, 1), PRA_OK);
    pra_write_request_reset(req);
    pra_write_request_columns(req, &after);
    assert_int_equal(after.sample_count, 0);
    pra_write_request_free(req);
}

static void try_to_share(void *ctx, int32_t kind, const pra_series *series, size_t index,
                         const pra_error *why)
{
    (void)kind, (void)series, (void)index, (void)why;
    assert_null(pra_write_request_share(ctx));
}

static void one_that_is_being_changed_is_not_shared(void **state)
{
    pra_write_request *req = new_request(NULL);
    const int64_t t = 1;
    const double value = 2;
    (void)state;
    assert_int_equal(pra_write_request_add_series(req, NULL, 0), PRA_OK);
    assert_int_equal(pra_write_request_add_samples(req, &t, &value, NULL, 1), PRA_OK);
    assert_int_equal(pra_write_request_canonicalize(req, 0, try_to_share, req), 1);
    pra_write_request_free(req);
}

static void a_storage_keeps_requests_beyond_the_exchange(void **state)
{
    struct keeper keeper = {.count = 0};
    struct hosted *h = serve(&keeper, NULL);
    (void)state;
    for (int i = 0; i < WRITES; i++) {
        post(h, i);
        assert_int_equal(pra_exchange_status(h->x), 204);
    }
    hosted_free(h);
    for (int i = 0; i < WRITES; i++) {
        assert_true(value_of(keeper.kept[i]) == i);
        for (int k = 0; k < i; k++)
            assert_ptr_not_equal(keeper.kept[i], keeper.kept[k]);
    }
    /* The last owner may change it. */
    assert_int_equal(pra_write_request_canonicalize(keeper.kept[0], 0, NULL, NULL), 0);
    for (int i = 0; i < WRITES; i++)
        pra_write_request_free(keeper.kept[i]);
}

/* Whatever is not kept beyond write costs nothing. */
static void a_share_that_is_given_back_costs_no_allocation(void **state)
{
    struct failing_alloc f;
    failing_alloc_init(&f);
    struct keeper keeper = {.at_once = 1};
    struct hosted *h = serve(&keeper, &f.alloc);
    (void)state;
    post(h, 1);
    const size_t calls = f.calls, frees = f.frees;
    post(h, 2);
    assert_int_equal(f.calls, calls);
    assert_int_equal(f.frees, frees);
    assert_int_equal(pra_exchange_status(h->x), 204);
    hosted_free(h);
    assert_int_equal(f.live, 0);
}

/* ── Threads ── */

struct job {
    pthread_t thread;
    pra_write_request *share;
    double value;
    int failed;
};

/* Looks at a request, shares it again, encodes it. */
static int use(const struct job *job)
{
    pra_columns c = {.size = sizeof(c)};
    pra_buffer *out;
    pra_write_request *again = pra_write_request_share(job->share);
    int bad = pra_write_request_columns(again, &c) || c.sample_count != 1 ||
              memcmp(c.values, &job->value, sizeof(job->value)) != 0 || pra_buffer_new(NULL, &out);
    for (int32_t version = PRA_WRITE_V1; version <= PRA_WRITE_V2 && !bad; version++)
        bad = pra_write_request_encode(again, version, out, NULL);
    if (!bad)
        pra_buffer_free(out);
    pra_write_request_free(again);
    return bad;
}

static void *run_job(void *arg)
{
    struct job *job = arg;
    job->failed = use(job);
    pra_write_request_free(job->share);
    return NULL;
}

/* Several threads take a share each, and go on when write is over. */
static int spread(void *self, const pra_context *ctx, const pra_write_request *request,
                  pra_write_result *result, pra_error *err)
{
    struct job *jobs = self;
    pra_columns c = {.size = sizeof(c)};
    (void)ctx, (void)result, (void)err;
    assert_int_equal(pra_write_request_columns(request, &c), PRA_OK);
    for (int i = 0; i < KEEPERS; i++) {
        jobs[i].share = pra_write_request_share(request);
        jobs[i].value = c.values[0];
        assert_int_equal(pthread_create(&jobs[i].thread, NULL, run_job, &jobs[i]), 0);
    }
    return PRA_OK;
}

static void owners_on_other_threads_go_as_they_like(void **state)
{
    static const pra_storage_vtbl vtbl = {.size = sizeof(vtbl), .write = spread};
    struct job jobs[2][KEEPERS] = {0};
    struct hosted *hosts[2];
    (void)state;
    for (int i = 0; i < 2; i++) {
        const pra_storage storage = {&vtbl, jobs[i]};
        hosts[i] = hosted_over(NULL, &storage, NULL);
    }
    for (int i = 0; i <= WRITES; i++) {
        if (i < WRITES)
            post(hosts[i % 2], i); /* while those of the write before are at work */
        for (int k = 0; k < KEEPERS && i > 0; k++) {
            struct job *job = &jobs[(i - 1) % 2][k];
            assert_int_equal(pthread_join(job->thread, NULL), 0);
            assert_int_equal(job->failed, 0);
        }
    }
    hosted_free(hosts[0]);
    hosted_free(hosts[1]);
}

/* ── Without memory ── */

/* The exchange makes itself a new request for every write. */
static int write_and_keep(struct failing_alloc *f, void *arg)
{
    struct keeper keeper = {.count = 0};
    int refused = 0;
    (void)arg;
    struct hosted *h = serve(&keeper, &f->alloc);
    if (!h)
        return PRA_ERR_NOMEM;
    for (int i = 0; i < 3; i++) {
        post(h, i);
        refused |= pra_exchange_status(h->x) == 503;
    }
    hosted_free(h);
    for (size_t i = 0; i < keeper.count; i++) {
        (void)value_of(keeper.kept[i]);
        pra_write_request_free(keeper.kept[i]);
    }
    return refused ? PRA_ERR_NOMEM : PRA_OK;
}

static int encode_shared(struct failing_alloc *f, void *arg)
{
    const pra_label labels[] = {{STR("__name__"), STR("up")}};
    pra_write_request *req;
    pra_buffer *out = arg;
    if (pra_write_request_new(&f->alloc, &req))
        return PRA_ERR_NOMEM;
    int rc = pra_write_request_add_series(req, labels, 1);
    if (rc == PRA_OK) {
        pra_write_request *share = pra_write_request_share(req);
        const size_t held = pra_write_request_memory(req);
        rc = pra_write_request_encode(share, PRA_WRITE_V2, out, NULL);
        assert_int_equal(pra_write_request_memory(req), held);
        pra_write_request_free(share);
    }
    pra_write_request_free(req);
    return rc;
}

static void running_out_of_memory_leaves_nothing(void **state)
{
    pra_buffer *out;
    (void)state;
    const char *wrong = failing_alloc_loop(write_and_keep, NULL);
    if (wrong)
        fail_msg("%s", wrong);
    assert_int_equal(pra_buffer_new(NULL, &out), PRA_OK);
    wrong = failing_alloc_loop(encode_shared, out);
    if (wrong)
        fail_msg("%s", wrong);
    pra_buffer_free(out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_with_several_owners_is_not_changed),
        cmocka_unit_test(one_that_is_being_changed_is_not_shared),
        cmocka_unit_test(a_storage_keeps_requests_beyond_the_exchange),
        cmocka_unit_test(a_share_that_is_given_back_costs_no_allocation),
        cmocka_unit_test(owners_on_other_threads_go_as_they_like),
        cmocka_unit_test(running_out_of_memory_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
