#include "exposure.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

static bool
is_loopback4(const struct in_addr *address) {
  return ntohl(address->s_addr) >> 24 == IN_LOOPBACKNET;
}

static bool
is_loopback6(const struct in6_addr *address) {
  struct in_addr mapped;

  if (!IN6_IS_ADDR_V4MAPPED(address))
    return IN6_IS_ADDR_LOOPBACK(address);
  memcpy(&mapped, &address->s6_addr[12], sizeof mapped);
  return is_loopback4(&mapped);
}

bool
sf_exposed(const struct sockaddr *peer, char name[SF_EXPOSED_NAME_MAX]) {
  struct sockaddr_in in;
  struct sockaddr_in6 in6;

  switch (peer->sa_family) {
  case AF_INET:
    memcpy(&in, peer, sizeof in);
    return !is_loopback4(&in.sin_addr) &&
           inet_ntop(AF_INET, &in.sin_addr, name, SF_EXPOSED_NAME_MAX) != NULL;
  case AF_INET6:
    memcpy(&in6, peer, sizeof in6);
    return !is_loopback6(&in6.sin6_addr) &&
           inet_ntop(AF_INET6, &in6.sin6_addr, name, SF_EXPOSED_NAME_MAX) != NULL;
  default:
    return false;
  }
}
