# Ringside's image: `make image`, which builds the binaries first. Nothing runs
# while it is built, so any machine can build it for any architecture, with
# BuildKit or without.

FROM scratch AS files
# A COPY comes first: from it the builder without BuildKit takes the platform.
COPY bin/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
WORKDIR /prometheus

FROM scratch
COPY LICENSE /LICENSE
COPY --from=files /etc /etc
# Where the volume shared with Prometheus is mounted: a new one takes its owner
# from here, whichever of the two is first. It is the user of Prometheus's own
# image, since the sidecar makes hard links beside Prometheus's files.
COPY --from=files --chown=65534:65534 /prometheus /prometheus
ARG TARGETARCH=amd64
ARG FLAVOUR=
COPY bin/linux-${TARGETARCH}/ringside${FLAVOUR} /bin/ringside

ARG VERSION
ARG REVISION
ARG CREATED
LABEL org.opencontainers.image.title="Ringside" \
      org.opencontainers.image.description="A sidecar for stateless Prometheus servers that share their scrape targets, with nobody in charge" \
      org.opencontainers.image.source="https://github.com/ringside-project/ringside" \
      org.opencontainers.image.documentation="https://github.com/ringside-project/ringside/tree/main/docs" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}"

USER 65534:65534
# The web server, and gossip. The relay listens on loopback.
EXPOSE 9590 7946 7946/udp
ENTRYPOINT ["/bin/ringside"]
CMD ["run", "--config.file=/etc/ringside/ringside.yml"]
