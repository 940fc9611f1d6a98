/* SPDX-License-Identifier: Apache-2.0 */
/* Read requests, as a snappy block if it is one, else as a bare message: what decodes must encode
 * to a message that decodes to the same, and compiling it must end. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pra.h"
#include "support/events.h"

static void check(int ok, const char *what)
{
    if (ok)
        return;
    (void)fprintf(stderr, "%s\n", what);
    abort();
}

static struct text events_of(const pra_read_request *req)
{
    struct text t = {0};
    text_bytes(&t, "", 0);
    events_read_request(&t, req);
    return t;
}

static void check_same_after_encoding(const pra_read_request *req)
{
    pra_buffer *out;
    pra_read_request *again;
    pra_error err = {0};
    check(pra_buffer_new(NULL, &out) == PRA_OK, "memory");
    check(pra_read_request_new(NULL, &again) == PRA_OK, "memory");
    check(pra_read_request_encode(req, out, &err) == PRA_OK, "encode");
    check(pra_read_request_decode(again, pra_buffer_data(out), pra_buffer_len(out), NULL, &err) ==
              PRA_OK,
          "decode of what was encoded");
    struct text one = events_of(req), two = events_of(again);
    check(strcmp(one.data, two.data) == 0, "another message after encoding");
    text_free(&one);
    text_free(&two);
    pra_buffer_free(out);
    pra_read_request_free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static pra_read_request *req;
    pra_limits limits = {.size = sizeof(limits),
                         .max_memory_bytes = 4 << 20,
                         .max_pattern_bytes = 256,
                         .max_pattern_memory = 1 << 18};
    pra_error err = {0};
    if (!req)
        check(pra_read_request_new(NULL, &req) == PRA_OK, "memory");
    int rc = pra_read_request_decode_snappy(req, data, size, &limits, &err);
    if (rc)
        rc = pra_read_request_decode(req, data, size, &limits, &err);
    if (rc) {
        check(err.code == rc && err.message[0], "an error says what it is");
        return 0;
    }
    check_same_after_encoding(req);
    (void)pra_read_request_compile(req, &limits, &err);
    return 0;
}
