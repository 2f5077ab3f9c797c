#include "oc_curl_error.h"

#include <string.h>

static oc_code translate(CURLcode result, int is_connected) {
  switch(result) {
  case CURLE_COULDNT_RESOLVE_HOST:
    return OC_E_RESOLVE;
  case CURLE_COULDNT_CONNECT:
    return OC_E_CONNECT;
  case CURLE_COULDNT_RESOLVE_PROXY:
#if LIBCURL_VERSION_NUM >= 0x074900
  case CURLE_PROXY:
#endif
    return OC_E_PROXY;
  case CURLE_OPERATION_TIMEDOUT:
    return is_connected ? OC_E_CONNECTION : OC_E_TIMEOUT_CONNECT;
  case CURLE_GOT_NOTHING:
  case CURLE_SEND_ERROR:
  case CURLE_RECV_ERROR:
  case CURLE_HTTP2:
  case CURLE_HTTP2_STREAM:
  case CURLE_SEND_FAIL_REWIND:
    return OC_E_CONNECTION;
  case CURLE_PARTIAL_FILE:
    return OC_E_TRUNCATED;
  case CURLE_PEER_FAILED_VERIFICATION:
  case CURLE_SSL_CACERT_BADFILE:
  case CURLE_SSL_CERTPROBLEM:
  case CURLE_SSL_ISSUER_ERROR:
  case CURLE_SSL_CRL_BADFILE:
  case CURLE_SSL_INVALIDCERTSTATUS:
    return OC_E_CERTIFICATE;
  case CURLE_SSL_CONNECT_ERROR:
  case CURLE_SSL_CIPHER:
  case CURLE_SSL_ENGINE_NOTFOUND:
  case CURLE_SSL_ENGINE_SETFAILED:
  case CURLE_SSL_ENGINE_INITFAILED:
  case CURLE_SSL_SHUTDOWN_FAILED:
  case CURLE_USE_SSL_FAILED:
    return OC_E_TLS;
  case CURLE_OUT_OF_MEMORY:
    return OC_E_NOMEM;
  case CURLE_WEIRD_SERVER_REPLY:
  case CURLE_BAD_CONTENT_ENCODING:
  case CURLE_UNSUPPORTED_PROTOCOL:
  case CURLE_HTTP_RETURNED_ERROR:
    return OC_E_BAD_RESPONSE;
  default:
    return OC_E_CURL;
  }
}

void oc_curl_error_set(oc_error *error, CURLcode result, const char *detail,
                       int is_connected) {
  oc_code code = translate(result, is_connected);
  oc_error_set(error, code, "%s: %s", oc_code_message(code),
               *detail ? detail : curl_easy_strerror(result));
}
