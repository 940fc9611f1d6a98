/* SPDX-License-Identifier: Apache-2.0 */
/* Random messages: well-formed ones with fields in any order, repetitions, unknown fields, packed
 * and unpacked scalars, long varints and extreme values; and ones damaged afterwards. */
#ifndef TESTS_SUPPORT_MESSAGE_GEN_H
#define TESTS_SUPPORT_MESSAGE_GEN_H

#include "support/text.h"

struct message_gen {
    uint64_t random;
    int groups; /* unknown fields may be groups, which nanopb refuses */
};

void gen_write_v1(struct message_gen *g, struct text *out);
void gen_write_v2(struct message_gen *g, struct text *out);
void gen_read_request(struct message_gen *g, struct text *out);
void gen_read_response(struct message_gen *g, struct text *out);

/* Flips, inserts, removes or cuts off some bytes. */
void gen_damage(struct message_gen *g, struct text *message);

#endif
