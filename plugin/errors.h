/* What an NBD client may be told. */
#ifndef SF_PLUGIN_ERRORS_H
#define SF_PLUGIN_ERRORS_H

/* error: 0 or -errno of our own layers.  Returns 0, or the positive errno to hand to nbdkit: one of
 * EPERM, EIO, ENOMEM, ENOSPC, ESHUTDOWN.  nbdkit 1.32 turns every other one into EINVAL, which
 * tells a client that its request was malformed when in truth a disk is gone. */
int sf_nbd_errno(int error);

#endif
