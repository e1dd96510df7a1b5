package domainxml

import "regexp"

// redacted stands where a secret was.
const redacted = "[redacted]"

// The secrets that a domain's XML holds itself, when libvirt dumps it with
// VIR_DOMAIN_XML_SECURE: a console's password and a network disk's cookies.
// They are in what Rewrite hands out, since the clone needs them, and in
// nothing that is shown. An empty passwd is none: it bars everybody, and that
// must show.
var (
	passwd = regexp.MustCompile(`(\bpasswd\s*=\s*)("[^"]+"|'[^']+')`)
	cookie = regexp.MustCompile(`(<cookie\b[^>]*>)[^<]+`)
)

// blot takes the secrets out of a stretch of XML.
func blot(text string) string {
	return cookie.ReplaceAllString(passwd.ReplaceAllString(text, "${1}'"+redacted+"'"), "${1}"+redacted)
}

// shown is an attribute's value as a Change shows it.
func shown(key, value string) string {
	if key == "passwd" && value != "" {
		return redacted
	}
	return value
}
