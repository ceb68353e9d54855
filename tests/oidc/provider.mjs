// A real OpenID provider for tests/console/oidc_provider.rs: npm's oidc-provider with the pages that it has for
// development, where any name signs in with any password.
//   PORT=3000 REDIRECT_URI=http://127.0.0.1:8000/-/oidc/callback CLIENT_SECRET=… ALGORITHM=ES256 node provider.mjs

import { generateKeyPairSync, randomBytes } from "node:crypto";
import Provider from "oidc-provider";

const { PORT, REDIRECT_URI, CLIENT_SECRET, ALGORITHM } = process.env;

const key = (algorithm, type, options) => ({
  ...generateKeyPairSync(type, options).privateKey.export({ format: "jwk" }),
  kid: algorithm,
  alg: algorithm,
  use: "sig",
});

const provider = new Provider(`http://127.0.0.1:${PORT}`, {
  clients: [
    {
      client_id: "console",
      client_secret: CLIENT_SECRET,
      redirect_uris: [REDIRECT_URI],
      id_token_signed_response_alg: ALGORITHM,
    },
  ],
  jwks: {
    keys: [key("RS256", "rsa", { modulusLength: 2048 }), key("ES256", "ec", { namedCurve: "P-256" })],
  },
  pkce: { required: () => true },
  scopes: ["openid", "email", "groups"],
  claims: { openid: ["sub"], email: ["email", "email_verified"], groups: ["groups"] },
  // In the id token too, and not only where somebody asks for them afterwards.
  conformIdTokenClaims: false,
  cookies: { keys: [randomBytes(32).toString("hex")] },
  // "ada" is in the group "web", "eve.system:masters" in that of Kubernetes' own.
  findAccount: (_context, id) => ({
    accountId: id,
    claims: () => ({
      sub: id,
      email: `${id}@example.org`,
      email_verified: true,
      groups: [id.split(".")[1] ?? "web"],
    }),
  }),
});

provider.listen(Number(PORT), "127.0.0.1", () => console.log("listening"));
