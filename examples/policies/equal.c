/* Everybody has the same share of the link, whatever they do. */
#include "outrigger_policy.h"

POLICY long equal(struct policy_context *context, struct policy_memory *own, struct policy_memory *shared)
{
    context->claim[BANDWIDTH] = context->owners ? context->capacity[BANDWIDTH] / context->owners : 0;
    context->weight = 1;
    return 0;
}
