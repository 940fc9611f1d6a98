/* SPDX-License-Identifier: Apache-2.0 */
/* Remote read of a storage through a handler of its own, without a server. What goes wrong in here
 * aborts. */
#ifndef TESTS_SUPPORT_ASKING_H
#define TESTS_SUPPORT_ASKING_H

#include "pra.h"

/* Appends the body of the answer to body. limits may be NULL. Returns PRA_OK, or the code of the
 * refusal with *err; the storage is not destroyed. */
int ask_storage(const pra_storage *storage, pra_str tenant, const pra_read_request *request,
                const pra_limits *limits, pra_buffer *body, pra_error *err);

#endif
