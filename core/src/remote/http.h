/* SPDX-License-Identifier: Apache-2.0 */
/* What the protocol reads out of an HTTP head: endpoint, message version, encoding. */
#ifndef PRA_REMOTE_HTTP_H
#define PRA_REMOTE_HTTP_H

#include "pra.h"

/* ASCII case-insensitive comparison with a NUL-terminated name. */
int pra__str_is(pra_str s, const char *name_cstr);
int pra__str_eq_nocase(pra_str a, pra_str b);

/* Without the spaces and tabs around it: they are no part of a header's value. */
pra_str pra__trim(pra_str s);

/* Splits at the first '?'; a fragment or a missing query string is no error. */
void pra__split_target(pra_str target, pra_str *path, pra_str *query_string);

/* PRA_ENDPOINT_WRITE or PRA_ENDPOINT_READ by the last segment of path, else PRA_ENDPOINT_AUTO. */
int32_t pra__endpoint_of(pra_str path);

/* The message version that a Content-Type names [W-03] [W-05]: PRA_WRITE_V1, PRA_WRITE_V2, or
 * PRA_ERR_CONTENT_TYPE. An empty value stands for a missing header [W-04]. */
int32_t pra__content_type_version(pra_str value);

/* Strict decimal. Returns 1, or 0 if value is not a number below 2^64. */
int pra__parse_u64(pra_str value, uint64_t *out);

#endif
