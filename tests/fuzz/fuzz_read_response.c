/* SPDX-License-Identifier: Apache-2.0 */
/* Sampled answers as a client reads them: every column must hold what the offsets promise, and a
 * snappy block of the message must decode to the same. */
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

static struct text events_of(const pra_read_response *resp)
{
    struct text t = {0};
    text_bytes(&t, "", 0);
    events_read_response(&t, resp);
    return t;
}

static void check_same_from_snappy(const pra_read_response *resp, const void *data, size_t size)
{
    pra_buffer *block;
    pra_read_response *again;
    pra_error err = {0};
    check(pra_buffer_new(NULL, &block) == PRA_OK, "memory");
    check(pra_read_response_new(NULL, &again) == PRA_OK, "memory");
    check(pra_snappy_compress(data, size, block, &err) == PRA_OK, "compress");
    check(pra_read_response_decode_snappy(again, pra_buffer_data(block), pra_buffer_len(block),
                                          NULL, &err) == PRA_OK,
          "decode from snappy");
    struct text one = events_of(resp), two = events_of(again);
    check(strcmp(one.data, two.data) == 0, "another message from snappy");
    text_free(&one);
    text_free(&two);
    pra_buffer_free(block);
    pra_read_response_free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static pra_read_response *resp;
    pra_limits limits = {.size = sizeof(limits), .max_memory_bytes = 4 << 20};
    pra_error err = {0};
    if (!resp)
        check(pra_read_response_new(NULL, &resp) == PRA_OK, "memory");
    int rc = pra_read_response_decode(resp, data, size, &limits, &err);
    if (rc)
        check(err.code == rc && err.message[0], "an error says what it is");
    else
        check_same_from_snappy(resp, data, size);
    return 0;
}
