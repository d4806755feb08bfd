FROM scratch
COPY thanos /bin/
USER 1001:1001
ENTRYPOINT ["/bin/thanos"]
