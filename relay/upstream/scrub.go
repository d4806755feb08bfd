package upstream

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/prometheus/common/config"
)

const (
	maxText   = 256     // bytes of an upstream's words that are shown
	maxRead   = 4 << 10 // bytes of an answer that are read
	minSecret = 3       // bytes; what is shorter tells nothing, and would be found everywhere
	masked    = "<secret>"
)

// scrubber takes secrets out of what an upstream, or an error, says: a
// receiver may well quote a header that it does not like.
type scrubber struct {
	config *Config
}

// text makes words fit to be shown: in one line, at most maxText bytes, and
// with no secret of the configuration or of the request, which may be nil. cut
// says that the words went on.
func (s scrubber) text(words string, cut bool, req *http.Request) string {
	secrets := s.secrets(req)
	slices.SortFunc(secrets, func(a, b string) int { return len(b) - len(a) }) // one may be part of another
	for _, secret := range secrets {
		words = strings.ReplaceAll(words, secret, masked)
	}
	for _, secret := range secrets {
		words = hideStart(words, secret, cut)
	}
	words = strings.Join(strings.FieldsFunc(strings.ToValidUTF8(words, "?"), func(r rune) bool {
		return unicode.IsSpace(r) || !unicode.IsPrint(r)
	}), " ")
	return truncate(words, maxText)
}

// hideStart takes the start of a secret off the end of words that were cut there.
func hideStart(words, secret string, cut bool) string {
	if !cut {
		return words
	}
	for n := min(len(secret)-1, len(words)); n >= minSecret; n-- {
		if strings.HasSuffix(words, secret[:n]) {
			return words[:len(words)-n] + masked
		}
	}
	return words
}

// truncate returns at most n bytes of text, whole characters.
func truncate(text string, n int) string {
	if len(text) <= n {
		return text
	}
	const ellipsis = "…"
	n -= len(ellipsis)
	for n > 0 && !utf8.RuneStart(text[n]) {
		n--
	}
	return text[:n] + ellipsis
}

// secrets lists what must not be shown, in every form in which it may turn up.
func (s scrubber) secrets(req *http.Request) []string {
	found := s.configured()
	if req != nil {
		found = append(found, s.sent(req)...)
	}
	var all []string
	for _, secret := range found {
		if len(secret) < minSecret {
			continue
		}
		quoted := strconv.Quote(secret)
		all = append(all, secret, quoted[1:len(quoted)-1], url.QueryEscape(secret), url.PathEscape(secret), html.EscapeString(secret))
		if text, err := json.Marshal(secret); err == nil {
			all = append(all, string(text[1:len(text)-1]))
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// configured lists the secrets of the configuration, and of the files it names.
func (s scrubber) configured() []string {
	c, h := s.config, &s.config.HTTPConfig
	found := []string{string(c.Tenant.Value), string(h.BearerToken), fromFile(h.BearerTokenFile)}
	if h.BasicAuth != nil {
		found = append(found, string(h.BasicAuth.Password), fromFile(h.BasicAuth.PasswordFile))
	}
	if h.Authorization != nil {
		found = append(found, string(h.Authorization.Credentials), fromFile(h.Authorization.CredentialsFile))
	}
	if c.SigV4 != nil {
		found = append(found, string(c.SigV4.SecretKey), c.SigV4.ExternalID)
	}
	if h.HTTPHeaders != nil {
		for _, header := range h.HTTPHeaders.Headers {
			found = append(found, header.Values...)
			for _, secret := range header.Secrets {
				found = append(found, string(secret))
			}
			for _, file := range header.Files {
				found = append(found, fromFile(file))
			}
		}
	}
	found = append(found, proxySecrets(&h.ProxyConfig)...)
	found = append(found, oauth2Secrets(h.OAuth2)...)
	for _, e := range c.Endpoints {
		found = append(found, urlSecrets(e.Address)...)
	}
	return append(found, urlSecrets(c.Hashring.URL)...)
}

func oauth2Secrets(o *config.OAuth2) []string {
	if o == nil {
		return nil
	}
	found := []string{
		string(o.ClientSecret), fromFile(o.ClientSecretFile),
		string(o.ClientCertificateKey), fromFile(o.ClientCertificateKeyFile),
	}
	for _, value := range o.EndpointParams {
		found = append(found, value)
	}
	for _, value := range o.Claims {
		found = append(found, fmt.Sprint(value))
	}
	return slices.Concat(found, urlSecrets(o.TokenURL), proxySecrets(&o.ProxyConfig))
}

func proxySecrets(p *config.ProxyConfig) []string {
	var found []string
	if p.ProxyURL.URL != nil {
		found = urlSecrets(p.ProxyURL.URL.String())
	}
	for _, values := range p.ProxyConnectHeader {
		for _, value := range values {
			found = append(found, string(value))
		}
	}
	return found
}

// urlSecrets lists the password and the query of a URL.
func urlSecrets(text string) []string {
	u, err := url.Parse(text)
	if err != nil {
		return nil
	}
	found := []string{u.RawQuery}
	if password, ok := u.User.Password(); ok {
		found = append(found, password)
	}
	for _, values := range u.Query() {
		found = append(found, values...)
	}
	return found
}

func fromFile(path string) string {
	if path == "" {
		return ""
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}

// sent lists the secrets in the headers of a request as it went out: tokens
// may be newer than the configuration.
func (s scrubber) sent(req *http.Request) []string {
	found := slices.Clone(req.Header["X-Amz-Security-Token"])
	if s.config.HTTPConfig.HTTPHeaders != nil {
		for name := range s.config.HTTPConfig.HTTPHeaders.Headers {
			found = append(found, req.Header.Values(name)...)
		}
	}
	for _, value := range req.Header["Authorization"] {
		_, token, _ := strings.Cut(value, " ")
		found = append(found, value, token)
		if pair, err := base64.StdEncoding.DecodeString(token); err == nil {
			_, password, _ := strings.Cut(string(pair), ":")
			found = append(found, string(pair), password)
		}
	}
	return append(found, urlSecrets(req.URL.String())...)
}

// displayed is a URL without what may be secret.
func displayed(u *url.URL) string {
	shown := *u
	shown.User, shown.RawQuery, shown.ForceQuery, shown.Fragment = nil, "", false, ""
	return shown.String()
}
