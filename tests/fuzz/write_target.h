/* SPDX-License-Identifier: Apache-2.0 */
/* A remote write message, as a snappy block if it is one, else as it stands: what decodes must
 * encode to messages of both versions that decode to the same, also after it was made canonical;
 * then all holds that must, and twice made canonical is once. The handle is reused, as a server
 * does. */
#ifndef TESTS_FUZZ_WRITE_TARGET_H
#define TESTS_FUZZ_WRITE_TARGET_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pra.h"
#include "support/canonical.h"
#include "support/events.h"

static void check(int ok, const char *what)
{
    if (ok)
        return;
    (void)fprintf(stderr, "%s\n", what);
    abort();
}

static struct text events_of(const pra_write_request *req)
{
    struct text t = {0};
    pra_columns c = {.size = sizeof(c)};
    check(pra_write_request_columns(req, &c) == PRA_OK, "columns");
    text_bytes(&t, "", 0);
    events_columns(&t, &c);
    return t;
}

/* What req encodes to, decoded; NULL if its budget is too small for that. */
static pra_write_request *converted(const pra_write_request *req, int32_t version, pra_buffer *out)
{
    pra_limits limits = {.size = sizeof(limits), .max_memory_bytes = PRA_UNLIMITED};
    pra_write_request *again;
    pra_error err = {0};
    int rc = pra_write_request_encode(req, version, out, &err);
    if (rc == PRA_ERR_MEMORY_BUDGET)
        return NULL;
    check(rc == PRA_OK, "encode");
    check(pra_write_request_new(NULL, &again) == PRA_OK, "memory");
    check(pra_write_request_decode(again, version, pra_buffer_data(out), pra_buffer_len(out),
                                   &limits, &err) == PRA_OK,
          "decode of what was encoded");
    return again;
}

/* Between the versions all but metadata and start timestamps is the same. */
static void check_same_in(const pra_write_request *req, int32_t version, int same_version)
{
    pra_buffer *out;
    check(pra_buffer_new(NULL, &out) == PRA_OK, "memory");
    pra_write_request *again = converted(req, version, out);
    if (again) {
        struct text one = events_of(req), two = events_of(again);
        for (int i = 0; !same_version && i < 2; i++) {
            events_strike(i ? &two : &one, "metadata ", 0);
            events_strike(i ? &two : &one, " start=", 1);
        }
        check(strcmp(one.data, two.data) == 0, "another message after encoding");
        text_free(&one);
        text_free(&two);
    }
    pra_write_request_free(again);
    pra_buffer_free(out);
}

static void check_same_after_encoding(const pra_write_request *req, int32_t version)
{
    check_same_in(req, PRA_WRITE_V1, version == PRA_WRITE_V1);
    check_same_in(req, PRA_WRITE_V2, version == PRA_WRITE_V2);
}

static void count(void *ctx, int32_t kind, const pra_series *series, size_t index,
                  const pra_error *why)
{
    (void)index;
    (void)kind;
    check(series->base != NULL && why->code < 0 && why->message[0], "a reason");
    ++*(int64_t *)ctx;
}

static void check_what_holds(const pra_write_request *req, int32_t version)
{
    pra_columns c = {.size = sizeof(c)};
    check(pra_write_request_columns(req, &c) == PRA_OK, "columns");
    const char *fault = canonical_fault(&c, version);
    check(fault == NULL, fault ? fault : "");
}

static void check_canonical(pra_write_request *req, int32_t version)
{
    int64_t told = 0;
    const int64_t rejected = pra_write_request_canonicalize(req, 0, count, &told);
    check(rejected == told, "all rejects are told");
    check_what_holds(req, version);
    struct text one = events_of(req);
    check(pra_write_request_canonicalize(req, 0, NULL, NULL) == 0, "canonical is canonical");
    struct text two = events_of(req);
    check(strcmp(one.data, two.data) == 0, "canonical stays as it is");
    text_free(&one);
    text_free(&two);
}

static void fuzz_write(int32_t version, const uint8_t *data, size_t size)
{
    static pra_write_request *req;
    pra_limits limits = {.size = sizeof(limits), .max_memory_bytes = 4 << 20};
    pra_error err = {0};
    if (!req)
        check(pra_write_request_new(NULL, &req) == PRA_OK, "memory");
    int rc = pra_write_request_decode_snappy(req, version, data, size, &limits, &err);
    if (rc)
        rc = pra_write_request_decode(req, version, data, size, &limits, &err);
    check(pra_write_request_memory(req) <= (4 << 20) + 4096, "memory within the budget");
    if (rc) {
        check(err.code == rc && err.message[0], "an error says what it is");
        return;
    }
    check_same_after_encoding(req, version);
    check_canonical(req, version);
    check_same_after_encoding(req, version);
}

#endif
