/* SPDX-License-Identifier: Apache-2.0 */
/* The same messages through nanopb, printed by the same events. */
#ifndef TESTS_SUPPORT_ORACLE_H
#define TESTS_SUPPORT_ORACLE_H

#include "support/text.h"

/* Each returns NULL with the events appended, or nanopb's reason for refusing. */
const char *oracle_write_v1(const void *data, size_t len, struct text *events);
/* References [W-33] as the decoder has them: a wrong one is the empty string, and such a series has
 * no metadata. */
const char *oracle_write_v2(const void *data, size_t len, struct text *events);
const char *oracle_read_request(const void *data, size_t len, struct text *events);
const char *oracle_read_response(const void *data, size_t len, struct text *events);

/* The reason given where a packed field ends within an element. */
extern const char oracle_packed_overrun[];

#endif
