FROM scratch AS directory
WORKDIR /prometheus

FROM scratch
COPY --from=directory --chown=65534:65534 /prometheus /prometheus
COPY prometheus promtool /bin/
WORKDIR /prometheus
USER 65534:65534
ENTRYPOINT ["/bin/prometheus"]
