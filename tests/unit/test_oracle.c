/* SPDX-License-Identifier: Apache-2.0 */
/* The decoders against nanopb, over random messages. Where they differ the difference must be one
 * of those by which nanopb differs from Prometheus' Go decoder, which is what ours follow:
 *
 *   nanopb refuses        "invalid wire_type"      groups, which Go skips
 *                         "varint overflow"        bits above the 64th, or above the 32nd of keys,
 *                                                  lengths and bools: Go drops them
 *                         "integer too large"      enums and 32-bit integers, which Go cuts
 *                         packed element overrun   Go bounds elements by the message around
 *   nanopb accepts        "more than 10 bytes"     unknown varints of any length
 *                         "wrong wire type"        for fields that a callback reads
 *                         "illegal field number"   keys beyond 32 bits
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "pra.h"
#include "support/events.h"
#include "support/message_gen.h"
#include "support/oracle.h"

struct kind {
    const char *name;
    void (*generate)(struct message_gen *g, struct text *out);
    const char *(*oracle)(const void *data, size_t len, struct text *events);
    int (*decode)(const void *data, size_t len, struct text *events, pra_error *err);
};

static int decode_write(int32_t version, const void *data, size_t len, struct text *events,
                        pra_error *err)
{
    pra_write_request *req;
    pra_columns c = {.size = sizeof(c)};
    assert_int_equal(pra_write_request_new(NULL, &req), PRA_OK);
    int rc = pra_write_request_decode(req, version, data, len, NULL, err);
    assert_int_equal(pra_write_request_columns(req, &c), PRA_OK);
    events_columns(events, &c);
    pra_write_request_free(req);
    return rc;
}

static int decode_v1(const void *data, size_t len, struct text *events, pra_error *err)
{
    return decode_write(PRA_WRITE_V1, data, len, events, err);
}

static int decode_v2(const void *data, size_t len, struct text *events, pra_error *err)
{
    return decode_write(PRA_WRITE_V2, data, len, events, err);
}

static int decode_read(const void *data, size_t len, struct text *events, pra_error *err)
{
    pra_read_request *req;
    assert_int_equal(pra_read_request_new(NULL, &req), PRA_OK);
    int rc = pra_read_request_decode(req, data, len, NULL, err);
    events_read_request(events, req);
    pra_read_request_free(req);
    return rc;
}

static int decode_response(const void *data, size_t len, struct text *events, pra_error *err)
{
    pra_read_response *resp;
    assert_int_equal(pra_read_response_new(NULL, &resp), PRA_OK);
    int rc = pra_read_response_decode(resp, data, len, NULL, err);
    events_read_response(events, resp);
    pra_read_response_free(resp);
    return rc;
}

static const struct kind kinds[] = {
    {"write 1.0", gen_write_v1, oracle_write_v1, decode_v1},
    {"write 2.0", gen_write_v2, oracle_write_v2, decode_v2},
    {"read request", gen_read_request, oracle_read_request, decode_read},
    {"read response", gen_read_response, oracle_read_response, decode_response},
};

static int is_one_of(const char *text, const char *const *list)
{
    for (; *list; list++)
        if (strstr(text, *list))
            return 1;
    return 0;
}

static int is_known(int rc, const pra_error *err, const char *refusal)
{
    static const char *const only_nanopb[] = {"invalid wire_type", "varint overflow",
                                              "integer too large", "packed element overrun", NULL};
    static const char *const only_ours[] = {"varint of more than 10 bytes", "wrong wire type",
                                            "illegal field number", NULL};
    if (refusal)
        return is_one_of(refusal, only_nanopb);
    return rc == PRA_ERR_PROTO && is_one_of(err->message, only_ours);
}

struct tally {
    size_t accepted;
    size_t refused;
    size_t known;
};

static void compare(const struct kind *kind, const struct text *message, struct tally *tally)
{
    struct text ours = {0}, theirs = {0};
    pra_error err = {0};
    text_bytes(&ours, "", 0);
    text_bytes(&theirs, "", 0);
    /* An exact copy, so that a sanitizer sees a step beyond the end. */
    char *copy = malloc(message->len ? message->len : 1);
    assert_non_null(copy);
    if (message->len)
        memcpy(copy, message->data, message->len);
    const char *refusal = kind->oracle(copy, message->len, &theirs);
    int rc = kind->decode(copy, message->len, &ours, &err);
    free(copy);
    if (!rc != !refusal) {
        if (!is_known(rc, &err, refusal))
            fail_msg("%s: %d (%s) but nanopb says %s", kind->name, rc, err.message,
                     refusal ? refusal : "ok");
        tally->known++;
    } else if (rc) {
        assert_int_equal(rc, PRA_ERR_PROTO);
        assert_true(err.offset <= message->len);
        assert_int_equal(ours.len, 0);
        tally->refused++;
    } else {
        assert_string_equal(ours.data, theirs.data);
        tally->accepted++;
    }
    text_free(&ours);
    text_free(&theirs);
}

static struct tally run(const struct kind *kind, size_t rounds, int groups, int damage)
{
    struct message_gen g = {.random = 20261122, .groups = groups};
    struct tally tally = {0};
    for (size_t i = 0; i < rounds; i++) {
        struct text message = {0};
        kind->generate(&g, &message);
        if (damage)
            gen_damage(&g, &message);
        compare(kind, &message, &tally);
        text_free(&message);
    }
    return tally;
}

static void well_formed_messages_are_read_alike(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        struct tally tally = run(&kinds[i], 3000, 0, 0);
        assert_int_equal(tally.accepted, 3000);
    }
}

static void groups_are_skipped(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        struct tally tally = run(&kinds[i], 2000, 1, 0);
        assert_int_equal(tally.refused, 0);
        assert_true(tally.known > 0);
    }
}

static void damaged_messages_are_refused_alike(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        struct tally tally = run(&kinds[i], 6000, 0, 1);
        assert_true(tally.accepted > 500);
        assert_true(tally.refused > 500);
        assert_true(tally.known < 600);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(well_formed_messages_are_read_alike),
        cmocka_unit_test(groups_are_skipped),
        cmocka_unit_test(damaged_messages_are_refused_alike),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
